/** Waits that end by time or signal. */
import { clientError } from "./errors.ts";

/** The longest that a timer knows. */
export const NO_TIMEOUT_MS = 2_147_483_647;

export interface WaitContext {
  readonly operation: string;
  readonly object: string;
}

/** `promise`, or TIMEOUT, or ABORTED; neither leaves a timer or a listener behind. */
export async function within<T>(
  promise: Promise<T>,
  limits: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
  context: WaitContext,
): Promise<T> {
  const { timeoutMs, signal } = limits;
  const { promise: end, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => {
    reject(
      clientError("ABORTED", { ...context, reason: "the signal was set", cause: signal?.reason }),
    );
  };
  if (signal?.aborted === true) onAbort();
  // A timer that is set for longer ends at once.
  const limitMs = Math.min(timeoutMs, NO_TIMEOUT_MS);
  const timer = setTimeout(() => {
    reject(clientError("TIMEOUT", { ...context, reason: `no answer within ${limitMs} ms` }));
  }, limitMs);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, end]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

export async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** As `sleep`, but a program with nothing else to do may end meanwhile. */
export async function idle(ms: number): Promise<void> {
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    letGo(timer);
  });
}

/** A timer that does not keep a program alive. Browsers have numbers for timers, and no such thing. */
export function letGo(timer: ReturnType<typeof setTimeout>): void {
  if (typeof timer === "object" && "unref" in timer) timer.unref();
}
