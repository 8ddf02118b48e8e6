import type { Device } from "../device.ts";
import type { Engine } from "../engine.ts";
import { activateRecord, deactivateRecord } from "./steps.ts";

export interface ActivateResult {
  readonly outcome: "activated" | "already-active";
  readonly device: Device;
}

export interface DeactivateOptions {
  readonly name: string;
  /** While it is open or mounted: goes at its last close instead of DEVICE_BUSY. */
  readonly deferred?: boolean;
}

export interface DeactivateResult {
  /** "deferred": somebody has it open; its dm device goes at the last close. */
  readonly outcome: "deactivated" | "already-inactive" | "deferred";
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
      if (await thins.keep(record.uuid)) {
        return { outcome: "already-active", device: engine.view(record) };
      }
      // Somebody removed its dm device: it is inactive, whatever we thought.
      states.set(record.uuid, "inactive");
    }
    await activateRecord(engine, record);
    return { outcome: "activated", device: engine.view(record) };
  });
}

/** DEVICE_BUSY while it is open or mounted, unless `deferred`. */
export function deactivate(engine: Engine, options: DeactivateOptions): Promise<DeactivateResult> {
  return engine.changeDevice("deactivation", options.name, async (name) => {
    const { states, thins } = engine;
    const record = engine.device("deactivation", name);
    if (!states.isActive(record.uuid)) {
      return { outcome: "already-inactive", device: engine.view(record) };
    }
    if (options.deferred === true) {
      const removed = await engine.withPool(() => thins.deactivateDeferred(record.uuid));
      // Until its last close it is live: a snapshot must still hold it still.
      if (removed === "deferred") return { outcome: "deferred", device: engine.view(record) };
      states.set(record.uuid, "inactive");
    } else {
      await deactivateRecord(engine, record);
    }
    return { outcome: "deactivated", device: engine.view(record) };
  });
}
