/**
 * Exit codes of the lab itself. Any other code is the command's own
 * (126: not executable, 127: not found, 128+N: ended by signal N inside the guest).
 */
export const exitCodes = {
  /** The command line is wrong. */
  usage: 2,
  /** The time limit passed: as timeout(1). */
  timeout: 124,
  /** The lab failed: not prepared, no boot, kernel panic. */
  labFailed: 125,
  /** Ctrl-C. */
  interrupted: 130,
  /** Power cut, as asked for: the kernel was killed with SIGKILL (128 + 9). */
  powerCut: 137,
  /** SIGTERM. */
  terminated: 143,
} as const;

/** Why a run ended. `exit` is the only one where the exit code is the command's. */
export type LabEnd = "exit" | "timeout" | "power-cut" | "aborted" | "failed";
