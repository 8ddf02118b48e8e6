/** A dm device with its table live, or nothing; and where it is neither, the pool must know. */
import {
  activateDevice,
  type Activation,
  type ActivateOptions,
  type DmRun,
  NativeError,
} from "@thinpool/dm-native";
import type { Kernel } from "./kernel.ts";
import { outcomeOf, UndoError } from "./undo.ts";

/** UndoError where a half-made device is left, or may be (INV-7). */
export async function makeLive(
  dm: Kernel["dm"],
  options: ActivateOptions,
  begun?: Promise<DmRun>,
): Promise<Activation> {
  try {
    return await activateDevice(dm, options, begun);
  } catch (error) {
    const halfMade = error instanceof NativeError && error.cause instanceof AggregateError;
    throw halfMade ? new UndoError(error, [error]) : outcomeOf(error);
  }
}
