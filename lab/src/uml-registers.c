/*
 * Preloaded into User Mode Linux where a processor has more registers than it knows of.
 *
 * Its kernel keeps 2696 bytes of each process's extended registers, which is all up to AVX-512 and protection
 * keys. PTRACE_SETREGSET with NT_X86_XSTATE takes the whole of what the processor has or nothing (EFAULT;
 * xstateregs_set in arch/x86/kernel/fpu/regset.c): with AMX that is 11008 bytes, and no process of the guest
 * starts. Here zeros follow what it gives, which is the state of registers that nobody has used: a program
 * must ask for AMX by arch_prctl, and the guest's kernel has no such call.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The host takes what it has of it and ignores the rest. User Mode Linux has one thread that traces. */
static char whole[64 * 1024] __attribute__((aligned(64)));

long ptrace(enum __ptrace_request request, ...) {
  va_list rest;
  va_start(rest, request);
  long pid = va_arg(rest, pid_t);
  void *address = va_arg(rest, void *);
  void *data = va_arg(rest, void *);
  va_end(rest);
  /* The system call stores a word where the function returns it: ptrace(2), "C library/kernel differences". */
  if (request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER) {
    long word;
    if (syscall(SYS_ptrace, (long)request, pid, address, &word) < 0) return -1;
    errno = 0;
    return word;
  }
  if (request == PTRACE_SETREGSET && (unsigned long)address == NT_X86_XSTATE) {
    const struct iovec *given = data;
    if (given->iov_len < sizeof whole) {
      memcpy(whole, given->iov_base, given->iov_len);
      struct iovec all = {whole, sizeof whole};
      return syscall(SYS_ptrace, (long)request, pid, address, &all);
    }
  }
  return syscall(SYS_ptrace, (long)request, pid, address, data);
}
