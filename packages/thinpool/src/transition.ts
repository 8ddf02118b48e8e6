/** The one place where a device's state changes (INV-8). */
import { type DeviceStates, type Verb, VERBS } from "./device-state.ts";
import { PoolError } from "./errors.ts";
import { UndoError } from "./undo.ts";

/**
 * Writes the trying state, does the step, writes the outcome. When the step fails the device is back
 * in the state it came from; when the step's own roll-back failed it is faulty. The error goes up.
 */
export async function transition<T>(
  states: DeviceStates,
  device: { readonly uuid: string; readonly name: string },
  verb: Verb,
  step: () => Promise<T>,
): Promise<T> {
  const { from, trying, done } = VERBS[verb];
  const state = states.get(device.uuid);
  if (state !== from) {
    throw new PoolError({
      code: state === "faulty" ? "POOL_DEGRADED" : "POOL_KERNEL",
      operation: verb,
      object: device.name,
      reason: `the device is ${state}, not ${from}`,
      hint: "Close the pool and open it again.",
    });
  }
  states.set(device.uuid, trying);
  try {
    const result = await step();
    if (done === "absent") states.forget(device.uuid);
    else states.set(device.uuid, done);
    return result;
  } catch (error) {
    if (error instanceof UndoError) states.set(device.uuid, "faulty");
    else if (from === "absent") states.forget(device.uuid);
    else states.set(device.uuid, from);
    throw error;
  }
}
