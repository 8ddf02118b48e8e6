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

/** Of what stat(2) gives as st_dev or st_rdev (glibc's gnu_dev_major and gnu_dev_minor). */
export function devNumberOf(dev: bigint): DevNumber {
  return {
    major: Number(((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xffff_f000n)),
    minor: Number((dev & 0xffn) | ((dev >> 12n) & 0xffff_ff00n)),
  };
}

/** The inverse: what mknod(2) of the C library takes. */
export function stDevOf({ major, minor }: DevNumber): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)];
  return (
    ((high & 0xffff_f000n) << 32n) |
    ((high & 0xfffn) << 8n) |
    ((low & 0xffff_ff00n) << 12n) |
    (low & 0xffn)
  );
}
