/** One line of JSON per event. */

export type LogLevel = "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

export interface Logger {
  log(level: LogLevel, event: string, fields?: LogFields): void;
}

/** `write` gets whole lines; JSON escapes whatever a client put into a name. */
export function jsonLogger(write: (line: string) => void): Logger {
  return {
    log(level, event, fields = {}): void {
      const time = new Date().toISOString();
      write(`${JSON.stringify({ time, level, event, ...fields })}\n`);
    },
  };
}

export function stderrLogger(): Logger {
  if (process.stderr.listenerCount("error", passOver) === 0) process.stderr.on("error", passOver);
  return jsonLogger((line) => {
    process.stderr.write(line);
  });
}

/** Who read the log is gone: no reason to end what serves users, and nobody to tell. */
function passOver(): void {
  // What is written from now on is lost.
}

/** An error as the log keeps it: with its stack and its causes. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = error.stack ?? error.message;
  return error.cause === undefined ? own : `${own}\ncaused by: ${errorText(error.cause)}`;
}
