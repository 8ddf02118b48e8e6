/** error (every I/O fails) and zero (reads zeros, swallows writes): neither has parameters or a status. */

export interface ErrorTable {
  readonly type: "error";
}

export interface ZeroTable {
  readonly type: "zero";
}

export function errorToParams(): string {
  return "";
}

/** Newer kernels take arguments for the error target; they are ignored as the kernel ignores them. */
export function errorFromParams(_params: string): ErrorTable {
  return { type: "error" };
}

export function zeroToParams(): string {
  return "";
}

export function zeroFromParams(_params: string): ZeroTable {
  return { type: "zero" };
}
