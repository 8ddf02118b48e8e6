/** Descriptors that this process was born with, or that a library opened, kept from its children. */
import { nativeErrorFromErrno } from "./errno.ts";
import { libcFunction } from "./libc.ts";

/** linux/close_range.h */
const CLOSE_RANGE_CLOEXEC = 4;
const LAST_DESCRIPTOR = 0xffff_ffff;

const closeRange = libcFunction("int close_range(uint first, uint last, int flags)");

/** From now on no descriptor from `first` on is inherited over execve(2). Linux 5.11. */
export function keepDescriptorsFromChildren(first: number): void {
  const { errno } = closeRange.sync(first, LAST_DESCRIPTOR, CLOSE_RANGE_CLOEXEC);
  if (errno === 0) return;
  const object = `descriptors from ${first} on`;
  throw nativeErrorFromErrno({ operation: "close_range", object, errno });
}
