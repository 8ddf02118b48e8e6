import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { mountTable, quote } from "./guest-script.ts";
import { MarkerWatch } from "./marker-watch.ts";

test("a quoted word reaches the program as it is", () => {
  const words = ["", "a b", "it's", "$HOME `x` \\", "new\nline", "*", "ä€"];
  const out = execFileSync("bash", ["-c", `printf '%s\\0' ${words.map(quote).join(" ")}`]);
  assert.deepEqual(out.toString("utf8").split("\0").slice(0, -1), words);
});

test("the mount table writes spaces as fstab wants them", () => {
  assert.match(
    mountTable([{ kind: "show", path: "/tmp/my repo" }]),
    /^\/run\/lab\/host\/tmp\/my\\040repo \/tmp\/my\\040repo none bind/m,
  );
});

test("a marker is found across chunks and once only where it is", () => {
  const watch = new MarkerWatch("CUT");
  assert.deepEqual(
    ["xC", "U", "x", "CU", "T"].map((text) => watch.seen(Buffer.from(text))),
    [false, false, false, false, true],
  );
  assert.equal(new MarkerWatch("X").seen(Buffer.from("aX")), true);
});
