import assert from "node:assert/strict";
import { test } from "node:test";
import type { Device, MountEntry, PoolStatus } from "@thinpool/sdk";
import { parseDiskStats } from "./io.ts";
import { pressed } from "./keys.ts";
import { renderTop, type Sample, type View } from "./screen.ts";

const device = (name: string, sizeBytes: bigint): Device =>
  ({ name, uuid: `uuid-${name}`, sizeBytes, ownerUid: 7 }) as Device;
const status = {
  uuid: "pool-uuid",
  state: "working",
  dataUsedBytes: 25n << 30n,
  dataTotalBytes: 100n << 30n,
  metadataUsedBytes: 1n << 20n,
  metadataTotalBytes: 2n << 30n,
  lowWaterBytes: 10n << 30n,
  deviceCount: 3,
  activeCount: 2,
} as PoolStatus;
const sample = (atMs: number, written: number): Sample => ({
  atMs,
  status,
  devices: [device("a", 1n << 30n), device("b", 3n << 30n), device("c", 2n << 30n)],
  mounts: [{ device: "c" } as MountEntry],
  io: new Map([["uuid-a", { readBytes: 0, writtenBytes: written }]]),
});
const VIEW: View = { sort: "io", filter: "", typing: false };
const names = (view: View, earlier?: Sample): string[] =>
  renderTop({ now: sample(2000, 2 << 20), earlier, view, rows: 50, columns: 200 })
    .slice(7)
    .map((line) => line.split(" ")[0] ?? "");

test("devices are sorted by what is asked for, then by name", () => {
  assert.deepEqual(names(VIEW, sample(0, 0)), ["a", "b", "c"]);
  assert.deepEqual(names({ ...VIEW, sort: "size" }), ["b", "c", "a"]);
  assert.deepEqual(names({ ...VIEW, sort: "mounts" }), ["c", "a", "b"]);
  assert.deepEqual(names({ ...VIEW, filter: "b" }), ["b"]);
});

test("rates come from two looks; a counter that starts anew is no negative rate", () => {
  const at = (earlier: Sample): string | undefined =>
    renderTop({ now: sample(2000, 2 << 20), earlier, view: VIEW, rows: 50, columns: 200 }).find(
      (line) => line.startsWith("a "),
    );
  assert.match(at(sample(0, 0)) ?? "", / 1 MiB\/s /);
  assert.match(at(sample(0, 9 << 20)) ?? "", / - +- /);
});

test("it never is taller or wider than the screen", () => {
  const lines = renderTop({
    now: sample(1, 0),
    earlier: undefined,
    view: VIEW,
    rows: 5,
    columns: 20,
  });
  assert.equal(lines.length, 5);
  assert.ok(lines.every((line) => line.length <= 20));
});

test("keys: sort goes round, a filter is typed, q and Ctrl-C end", () => {
  const key = (text: string, name = text, ctrl = false) => ({ text, name, ctrl });
  let view = VIEW;
  const press = (...keys: ReturnType<typeof key>[]): View => {
    for (const one of keys) {
      const next = pressed(view, one);
      assert.ok(next !== "quit");
      view = next;
    }
    return view;
  };
  assert.equal(press(key("s")).sort, "size");
  assert.deepEqual(press(key("/"), key("q"), key("\u001B", "up")).filter, "q");
  assert.deepEqual(press(key("x"), key("", "backspace"), key("\r", "return")), {
    sort: "size",
    filter: "q",
    typing: false,
  });
  assert.equal(pressed(view, key("q")), "quit");
  assert.equal(pressed({ ...view, typing: true }, key("", "c", true)), "quit");
});

test("diskstats: sectors of 512 bytes, other lines are passed over", () => {
  const text = " 253       3 dm-3 10 0 80 5 20 0 160 9 0 0 0\nnonsense\n";
  assert.deepEqual(
    [...parseDiskStats(text)],
    [["253:3", { readBytes: 40_960, writtenBytes: 81_920 }]],
  );
});
