/** Lists of devices, read in slices, and so over several turns of the event loop. */
import type { Device, ListFilter, ThinPool } from "@thinpool/thinpool";
import { ITEMS_PER_TURN, nextTurn } from "../turns.ts";

export interface Wanted<View> {
  readonly filter?: ListFilter;
  /** A device that the filter fits, as it is listed; undefined where it is not. */
  readonly view: (device: Device) => View | undefined;
  /** Ends it with the signal's reason. */
  readonly signal: AbortSignal;
}

interface Page<View> {
  readonly devices: readonly View[];
  /** The name up to which they are all; undefined where there is none behind the last. */
  readonly next: string | undefined;
}

type Named = Pick<Device, "uuid"> & { readonly name: string };

interface Part {
  readonly after?: string | undefined;
  readonly limit?: number | undefined;
}

/**
 * By name: the first `limit` behind `after`, or all. Each that is there from the beginning to the end, and
 * belongs there, is in it once, renamed or not; each is as it was at some moment in between.
 */
export async function devicesInTurns<View extends Named>(
  pool: Pick<ThinPool, "list" | "listPage" | "watchRenames">,
  wanted: Wanted<View>,
  { after = "", limit = Infinity }: Part = {},
): Promise<Page<View>> {
  using renamed = pool.watchRenames();
  const { devices, next } = await walk(pool, wanted, { after, limit });
  // From here to the end nothing is awaited.
  if (renamed.uuids.size === 0) return { devices, next };
  const asTheyAre = [...renamed.uuids]
    .flatMap((uuid) => pool.list({ ...wanted.filter, uuid }))
    .filter(({ name }) => name > after && (next === undefined || name <= next))
    .flatMap((device) => wanted.view(device) ?? []);
  const others = devices.filter(({ uuid }) => !renamed.uuids.has(uuid));
  const all = [...others, ...asTheyAre].toSorted((one, two) => (one.name < two.name ? -1 : 1));
  const first = all.slice(0, limit);
  return { devices: first, next: first.length < all.length ? first.at(-1)?.name : next };
}

async function walk<View extends Named>(
  pool: Pick<ThinPool, "listPage">,
  { filter, view, signal }: Wanted<View>,
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<Page<View>> {
  const found: View[] = [];
  let behind = after;
  for (;;) {
    await nextTurn();
    signal.throwIfAborted();
    const { devices, next } = pool.listPage({ ...filter, after: behind, limit: ITEMS_PER_TURN });
    for (const [index, device] of devices.entries()) {
      const seen = view(device);
      if (seen === undefined) continue;
      found.push(seen);
      if (found.length < limit) continue;
      const isLast = next === undefined && index === devices.length - 1;
      return { devices: found, next: isLast ? undefined : device.name };
    }
    if (next === undefined) return { devices: found, next: undefined };
    behind = next;
  }
}
