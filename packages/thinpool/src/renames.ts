/** Tells who reads the names in parts which of them change meanwhile. */

/** Disposing of it ends it. */
export interface RenameWatch extends Disposable {
  /** Of what was renamed, or was and has its old name again. */
  readonly uuids: ReadonlySet<string>;
}

export class Renames {
  readonly #watches = new Set<Set<string>>();

  watch(): RenameWatch {
    const uuids = new Set<string>();
    this.#watches.add(uuids);
    return { uuids, [Symbol.dispose]: () => void this.#watches.delete(uuids) };
  }

  note(uuid: string): void {
    for (const uuids of this.#watches) uuids.add(uuid);
  }
}
