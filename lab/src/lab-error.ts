/** A failure of the lab, not of the command in it. `hint` says what to do. */
export class LabError extends Error {
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(message);
    this.name = "LabError";
    this.hint = hint;
  }
}
