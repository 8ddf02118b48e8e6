import { dirname } from "node:path";

/** One mount that the guest's start script makes, in order. */
export type GuestMount =
  /** An empty writable folder. */
  | { readonly kind: "tmpfs"; readonly path: string; readonly mode: string }
  /** The host's folder, or file, read-only, at its own path. */
  | { readonly kind: "show" | "show-file"; readonly path: string }
  /** The host's folder, writable. */
  | { readonly kind: "scratch"; readonly path: string };

export interface MountWish {
  /** Folders that must be seen as on the host. */
  readonly show: readonly string[];
  /** Where the command starts: seen as on the host unless it is itself an empty folder. */
  readonly cwd: string;
  readonly scratch?: string;
}

/** What the plan must know of the host's folders. */
export interface HostFolders {
  /** Can a user who is neither owner nor in the group pass through? (mode o+x) */
  enterable(path: string): boolean;
  /** What is in the folder. */
  entries(path: string): { readonly name: string; readonly folder: boolean }[];
}

/** Empty and writable in every guest. */
const emptyFolders: readonly { path: string; mode: string }[] = [
  { path: "/tmp", mode: "1777" },
  { path: "/dev/shm", mode: "1777" },
  { path: "/run", mode: "0755" },
  { path: "/var/tmp", mode: "1777" },
  { path: "/var/lib", mode: "0755" },
  { path: "/var/log", mode: "0755" },
  { path: "/mnt", mode: "0755" },
  // Root's home is 0700 on the host, yet Node and the cache may lie in it.
  { path: "/root", mode: "0755" },
];

/**
 * The mounts that make every wished folder visible to every uid at its own path.
 *
 * A folder on the way that others can't enter (like a 0700 home) is covered with an empty 0755
 * folder, in which only the wished ones are shown again. Parents come before children.
 */
export function planMounts(wish: MountWish, host: HostFolders): GuestMount[] {
  const covers = new Map<string, GuestMount>(
    emptyFolders.map(({ path, mode }) => [path, { kind: "tmpfs", path, mode }]),
  );
  const shown = new Map<string, GuestMount>();

  const cover = (path: string): void => {
    const closed = ancestors(path).find((folder) => !host.enterable(folder));
    if (closed === undefined) return;
    // Below an empty folder the way is made anew, open to all.
    if (ancestors(closed).some((folder) => covers.has(folder))) return;
    covers.set(closed, { kind: "tmpfs", path: closed, mode: "0755" });
  };

  for (const path of wish.show) {
    cover(path);
    if (covers.has(path)) {
      for (const { name, folder } of host.entries(path)) {
        const entry = `${path}/${name}`;
        shown.set(entry, { kind: folder ? "show" : "show-file", path: entry });
      }
    } else shown.set(path, { kind: "show", path });
  }
  if (!covers.has(wish.cwd)) {
    cover(wish.cwd);
    if (!covers.has(wish.cwd)) shown.set(wish.cwd, { kind: "show", path: wish.cwd });
  }
  if (wish.scratch !== undefined) {
    cover(dirname(wish.scratch));
    covers.delete(wish.scratch);
    shown.set(wish.scratch, { kind: "scratch", path: wish.scratch });
  }

  const all = new Map([...covers, ...shown]);
  return [...all.values()]
    .filter(
      (mount) =>
        mount.kind === "tmpfs" || mount.kind === "scratch" || !alreadyShown(mount.path, all),
    )
    .toSorted((a, b) => depth(a.path) - depth(b.path) || (a.path < b.path ? -1 : 1));
}

/** A folder needs no mount where the nearest mount above it shows the host's files. */
function alreadyShown(path: string, all: ReadonlyMap<string, GuestMount>): boolean {
  const above = ancestors(path)
    .slice(0, -1)
    .findLast((folder) => all.has(folder));
  return above === undefined || all.get(above)?.kind !== "tmpfs";
}

/** `/a/b` gives `/`, `/a`, `/a/b`. */
function ancestors(path: string): string[] {
  return path === "/" ? ["/"] : [...ancestors(dirname(path)), path];
}

function depth(path: string): number {
  return ancestors(path).length;
}
