/** Why the daemon does not start, beside the engine's own errors. Match on `code`. */

export type StartErrorCode =
  /** Another daemon has the socket, or a file is in its place. */
  | "SOCKET_IN_USE"
  | "OPTION_INVALID"
  /** The policy file can't be read, is not root's alone, or says what it can't say. */
  | "POLICY_INVALID"
  /** systemd refused what was asked of it. */
  | "SERVICE_MANAGER";

export interface StartErrorInit {
  readonly code: StartErrorCode;
  readonly object: string;
  readonly reason: string;
  readonly hint: string;
  readonly cause?: unknown;
}

export class StartError extends Error {
  override readonly name = "StartError";
  readonly code: StartErrorCode;
  readonly operation = "start of thinpoold";
  readonly object: string;
  readonly reason: string;
  readonly hint: string;

  constructor(init: StartErrorInit) {
    super(`start of thinpoold on ${init.object}: ${init.reason}. ${init.hint}`, {
      cause: init.cause,
    });
    this.code = init.code;
    this.object = init.object;
    this.reason = init.reason;
    this.hint = init.hint;
  }
}
