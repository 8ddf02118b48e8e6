/**
 * How long a removal is tried while the device is busy: 8 times with 5, 10, 20 ... 200 ms between, about
 * half a second. A udev rule lets go in less; a mount does not let go, and its user waits for the answer.
 */
export const REMOVE_RETRY: { readonly attempts: number } = { attempts: 8 };

/**
 * How long a thin device's deletion is tried: 5 times with 5, 10, 20 and 40 ms between. The kernel lets go
 * of it after its dm device's name has gone, where that went at a last close (a deferred removal).
 * Short, as a group of operations may wait for it.
 */
export const DELETE_RETRY: { readonly attempts: number } = { attempts: 5 };
