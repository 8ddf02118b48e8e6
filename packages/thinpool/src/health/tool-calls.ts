/** Calls of the metadata tools, with what their failures mean to the engine. */
import { NativeError } from "@thinpool/dm-native";
import { PoolError } from "../errors.ts";

/**
 * Runs one call of `kernel.metadataTools`. A machine without the program is POOL_TOOL_MISSING, all else
 * that is not about the metadata POOL_TOOL_FAILED.
 */
export async function toolCall<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw toolError(error);
  }
}

/** The same for a tool whose answer comes piece by piece. */
export async function* toolStream<T>(items: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* items;
  } catch (error) {
    throw toolError(error);
  }
}

function toolError(error: unknown): unknown {
  if (!(error instanceof NativeError)) return error;
  const missing = error.code === "NATIVE_UNSUPPORTED";
  return new PoolError({
    code: missing ? "POOL_TOOL_MISSING" : "POOL_TOOL_FAILED",
    operation: error.operation,
    object: error.object,
    reason: error.reason,
    hint: missing ? "Install the package thin-provisioning-tools." : error.hint,
    errno: error.errno,
    ...(error.errnoName === undefined ? {} : { errnoName: error.errnoName }),
    cause: error,
  });
}
