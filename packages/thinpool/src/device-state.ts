/** The states of a thin device inside a running engine. The ledger and the kernel hold what lasts. */

export type DeviceState =
  /** Not in the ledger, or no longer. */
  | "absent"
  /** Intent recorded; the kernel is making it. */
  | "creating"
  /** Made; it has no dm device. */
  | "inactive"
  /** Its dm device is being made. */
  | "activating"
  /** It has a dm device that lets I/O through. */
  | "active"
  /** Its dm device is being suspended, so that a snapshot of it is consistent. */
  | "suspending"
  /** Suspended: I/O waits. Never outlives one operation. */
  | "suspended"
  | "resuming"
  | "deactivating"
  /** Removal recorded; the kernel is deleting it. */
  | "removing"
  /** A step failed and could not be undone; the next open settles it. */
  | "faulty";

export type Verb = "create" | "activate" | "suspend" | "resume" | "deactivate" | "remove";

export interface VerbStates {
  readonly from: DeviceState;
  readonly trying: DeviceState;
  readonly done: DeviceState;
}

/** Every change of state there is. A failed step goes back to `from`. */
export const VERBS: Readonly<Record<Verb, VerbStates>> = {
  create: { from: "absent", trying: "creating", done: "inactive" },
  activate: { from: "inactive", trying: "activating", done: "active" },
  suspend: { from: "active", trying: "suspending", done: "suspended" },
  resume: { from: "suspended", trying: "resuming", done: "active" },
  deactivate: { from: "active", trying: "deactivating", done: "inactive" },
  remove: { from: "inactive", trying: "removing", done: "absent" },
};

/** States by device uuid. "inactive" takes no entry, so memory follows the devices in use. */
export class DeviceStates {
  readonly #states = new Map<string, DeviceState>();
  #activeCount = 0;
  /** Told when a device becomes active or is so no longer. */
  onActivity: (uuid: string, active: boolean) => void = () => undefined;

  get(uuid: string): DeviceState {
    return this.#states.get(uuid) ?? "inactive";
  }

  set(uuid: string, state: DeviceState): void {
    const before = this.isActive(uuid);
    if (state === "inactive") this.#states.delete(uuid);
    else this.#states.set(uuid, state);
    const active = this.isActive(uuid);
    if (active === before) return;
    this.#activeCount += active ? 1 : -1;
    this.onActivity(uuid, active);
  }

  /** Something is done with it, or it is active. */
  has(uuid: string): boolean {
    return this.#states.has(uuid);
  }

  /** Takes the device out: it no longer exists. */
  forget(uuid: string): void {
    if (this.isActive(uuid)) this.#activeCount -= 1;
    this.#states.delete(uuid);
  }

  isActive(uuid: string): boolean {
    const state = this.get(uuid);
    return (
      state === "active" || state === "suspending" || state === "suspended" || state === "resuming"
    );
  }

  get activeCount(): number {
    return this.#activeCount;
  }
}
