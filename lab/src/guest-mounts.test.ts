import assert from "node:assert/strict";
import { test } from "node:test";
import { planMounts, type HostFolders, type MountWish } from "./guest-mounts.ts";

const host = (closed: readonly string[]): HostFolders => ({
  enterable: (path) => !closed.includes(path),
  entries: () => [
    { name: "src", folder: true },
    { name: "file", folder: false },
  ],
});

/** The plan without the folders that are empty in every guest. */
function plan(wish: Partial<MountWish>, closed: readonly string[] = []): string[] {
  const fixed = planMounts({ show: [], cwd: "/" }, host([])).map((mount) => mount.path);
  return planMounts({ show: [], cwd: "/", ...wish }, host(closed))
    .filter((mount) => mount.kind !== "tmpfs" || !fixed.includes(mount.path))
    .map((mount) => `${mount.kind} ${mount.path}`);
}

test("what the read-only root shows anyway needs no mount", () => {
  assert.deepEqual(plan({ show: ["/srv/repo", "/usr", "/"], cwd: "/srv/repo/lab" }), []);
});

test("a folder below an empty one is shown again", () => {
  assert.deepEqual(plan({ show: ["/tmp/a/repo", "/root/.cache/thinpool"] }, ["/root", "/tmp/a"]), [
    "show /root/.cache/thinpool",
    "show /tmp/a/repo",
  ]);
});

test("a home that others can't enter is covered, and only the wished is shown in it", () => {
  assert.deepEqual(plan({ show: ["/home/me/repo"], cwd: "/home/me/other" }, ["/home/me"]), [
    "tmpfs /home/me",
    "show /home/me/other",
    "show /home/me/repo",
  ]);
});

test("a closed repository is covered and its entries are shown", () => {
  assert.deepEqual(plan({ show: ["/srv/repo"] }, ["/srv/repo"]), [
    "tmpfs /srv/repo",
    "show-file /srv/repo/file",
    "show /srv/repo/src",
  ]);
});

test("a start folder that is empty in the guest stays empty", () => {
  assert.deepEqual(plan({ cwd: "/tmp" }), []);
});

test("a folder inside a shown one needs no mount of its own", () => {
  assert.deepEqual(plan({ show: ["/tmp/repo"], cwd: "/tmp/repo/lab" }), ["show /tmp/repo"]);
});

test("the scratch folder is mounted wherever it lies", () => {
  assert.deepEqual(plan({ show: ["/tmp/repo"], scratch: "/tmp/repo/out" }), [
    "show /tmp/repo",
    "scratch /tmp/repo/out",
  ]);
});
