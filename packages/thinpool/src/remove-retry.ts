/**
 * How long a removal is tried while the device is busy: 8 times with 5, 10, 20 ... 200 ms between, about
 * half a second. A udev rule lets go in less; a mount does not let go, and its user waits for the answer.
 */
export const REMOVE_RETRY: { readonly attempts: number } = { attempts: 8 };
