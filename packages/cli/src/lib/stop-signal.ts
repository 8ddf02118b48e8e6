/** Waiting for the end of a foreground process. */

/**
 * Resolves at the first SIGTERM or SIGINT. A second one ends the process the hard way, which the
 * daemon survives as it does any crash.
 */
export async function stopSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, resolve);
  return await promise;
}
