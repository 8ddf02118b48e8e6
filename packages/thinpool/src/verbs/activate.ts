import type { Device } from "../device.ts";
import type { Engine } from "../engine.ts";
import { transition } from "../transition.ts";

export interface ActivateResult {
  readonly outcome: "activated" | "already-active";
  readonly device: Device;
}

export interface DeactivateResult {
  readonly outcome: "deactivated" | "already-inactive";
  readonly device: Device;
}

export function activate(
  engine: Engine,
  options: { readonly name: string },
): Promise<ActivateResult> {
  return engine.changeDevice("activation", options.name, async (name) => {
    const { states, thins } = engine;
    const record = engine.device("activation", name);
    if (states.isActive(record.uuid)) {
      if (await thins.isLive(record.uuid)) {
        return { outcome: "already-active", device: engine.view(record) };
      }
      // Somebody removed its dm device: it is inactive, whatever we thought.
      states.set(record.uuid, "inactive");
    }
    await transition(states, record, "activate", () => thins.activate(record));
    return { outcome: "activated", device: engine.view(record) };
  });
}

/** DEVICE_BUSY while it is open or mounted. */
export function deactivate(
  engine: Engine,
  options: { readonly name: string },
): Promise<DeactivateResult> {
  return engine.changeDevice("deactivation", options.name, async (name) => {
    const { states, thins } = engine;
    const record = engine.device("deactivation", name);
    if (!states.isActive(record.uuid)) {
      return { outcome: "already-inactive", device: engine.view(record) };
    }
    await transition(states, record, "deactivate", () => thins.deactivate(record.uuid));
    return { outcome: "deactivated", device: engine.view(record) };
  });
}
