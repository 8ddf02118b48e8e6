/** A soak that is told to end (Ctrl-C, SIGTERM) ends what it started and clears up behind itself. */
const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const;

const endings = new Set<() => void>();
let code: number | undefined;

/** As a shell has it; undefined while nobody wants the end. */
export function stopCode(): number | undefined {
  return code;
}

/** `end` is called when the soak is told to end; the returned function takes that back. */
export function onStop(end: () => void): () => void {
  endings.add(end);
  return () => endings.delete(end);
}

for (const [signal, exitCode] of Object.entries(SIGNALS)) {
  process.on(signal, () => {
    code = exitCode;
    for (const end of endings) end();
  });
}
