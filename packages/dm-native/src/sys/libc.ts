/**
 * The C library, loaded once per thread. Only files of this folder import koffi.
 *
 * Variadic functions (ioctl, semctl, syscall) are declared with fixed arguments: on Linux the
 * calling conventions of amd64 and arm64 pass integers and pointers alike in both forms.
 */
import koffi from "koffi";

export interface SyscallResult {
  /** What the function returned; -1 (or any negative value) is a failure. */
  readonly result: number;
  /** errno where `result` is negative, else 0. */
  readonly errno: number;
}

/** A pointer argument is a Uint8Array (read and written in place), a string, or null. */
export type LibcArgument = number | bigint | string | Uint8Array | null;

export interface LibcFunction {
  /** The C prototype; the long-wait lane loads the function by it in its own thread. */
  readonly prototype: string;
  /** On this thread: only for what cannot wait. */
  sync(...args: readonly LibcArgument[]): SyscallResult;
  /** On libuv's pool (4 threads for the whole process): for what waits no longer than a disk does. */
  async(...args: readonly LibcArgument[]): Promise<SyscallResult>;
}

const library = koffi.load(null);

function settle(returned: number | bigint): SyscallResult {
  const result = Number(returned);
  return { result, errno: result < 0 ? koffi.errno() : 0 };
}

/** Binds a function of the C library by its C prototype. */
export function libcFunction(prototype: string): LibcFunction {
  const bound = library.func(prototype);
  return {
    prototype,
    sync: (...args) => settle(bound(...args) as number | bigint),
    async: (...args) =>
      new Promise((resolve, reject) => {
        bound.async(...args, (error: unknown, returned: number | bigint) => {
          // koffi keeps the call's own errno for the length of this callback.
          if (error === null || error === undefined) resolve(settle(returned));
          else reject(error);
        });
      }),
  };
}

/** The address of a function of the C library, for those who need it as a number. */
export function libcAddress(name: string): bigint {
  return koffi.address(library.symbol(name));
}

export const open: LibcFunction = libcFunction("int open(const char *path, int flags, uint mode)");
export const close: LibcFunction = libcFunction("int close(int fd)");
export const syncfs: LibcFunction = libcFunction("int syncfs(int fd)");
export const fdatasync: LibcFunction = libcFunction("int fdatasync(int fd)");
/** ioctl with a structure as its argument. */
export const ioctlPointer: LibcFunction = libcFunction(
  "int ioctl(int fd, unsigned long request, void *argument)",
);
/** ioctl with an integer as its argument (sign-extended). */
export const ioctlInteger: LibcFunction = libcFunction(
  "int ioctl(int fd, unsigned long request, long argument)",
);
/** `fds` is an array of struct pollfd: int fd, short events, short revents. */
export const poll: LibcFunction = libcFunction(
  "int poll(void *fds, unsigned long count, int timeout_ms)",
);
/** `mode` holds the type (S_IFBLK, S_IFCHR) and the bits; the umask applies. */
export const mknod: LibcFunction = libcFunction(
  "int mknod(const char *path, uint mode, uint64_t dev)",
);
