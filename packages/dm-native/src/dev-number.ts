/** A device number as the kernel prints it. */
export interface DevNumber {
  readonly major: number;
  readonly minor: number;
}

export function formatDevNumber(dev: DevNumber): string {
  return `${dev.major}:${dev.minor}`;
}

export function sameDevNumber(a: DevNumber, b: DevNumber): boolean {
  return a.major === b.major && a.minor === b.minor;
}
