import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { startLab, until } from "./lab-process.ts";
import { leftBehind, ownTemporaryFolder, runsIn } from "./left-behind.ts";
import { guestTests } from "./shared.ts";

guestTests("uml");

test("the time limit ends the run with 124 and leaves nothing", async () => {
  const temporary = ownTemporaryFolder();
  const { outcome } = startLab(["--timeout", "4", "--", "sleep", "100"], temporary);
  await until(() => runsIn(temporary).length > 0, 10);
  const runs = runsIn(temporary);
  const { code, stderr } = await outcome;
  assert.equal(code, 124);
  assert.equal(stderr, "lab: time limit of 4 s passed\n");
  assert.deepEqual(leftBehind(temporary, runs), []);
});

for (const [signal, wanted] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGKILL", null],
] as const)
  test(`${signal} ends the guest and leaves nothing`, async () => {
    const temporary = ownTemporaryFolder();
    const lab = startLab(["--", "bash", "-c", "echo up; sleep 100"], temporary);
    let up = false;
    lab.process.stdout?.on("data", () => (up = true));
    await until(() => up, 60);
    const runs = runsIn(temporary);
    assert.equal(runs.length, 1);
    lab.process.kill(signal);
    assert.equal((await lab.outcome).code, wanted);
    // After SIGKILL only the guard is there to clean up, in its own time.
    if (signal === "SIGKILL") await until(() => runsIn(temporary).length === 0, 10);
    assert.deepEqual(leftBehind(temporary, runs), []);
  });

for (const [signal, wanted] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)
  test(`${signal} ends a lab that waits for the end of its stdin`, async () => {
    const temporary = ownTemporaryFolder();
    const lab = startLab(["--stdin", "--", "cat"], temporary, "open");
    // More than fits between the two: it is taken only by a lab that reads, and so has its handlers.
    await new Promise((taken) => lab.process.stdin?.write(Buffer.alloc(4 << 20), taken));
    lab.process.kill(signal);
    const late = setTimeout(() => lab.process.kill("SIGKILL"), 20_000);
    const { code, stderr } = await lab.outcome;
    clearTimeout(late);
    assert.equal(code, wanted);
    assert.equal(stderr, "lab: interrupted\n");
    assert.deepEqual(leftBehind(temporary, []), []);
  });

test("what the machine refuses is one line, and the lab's own exit code", async () => {
  const folder = ownTemporaryFolder();
  const gone = await startLab(["--", "true"], join(folder, "none")).outcome;
  assert.match(gone.stderr, /^lab: Error: ENOENT: [^\n]*\n$/);
  assert.equal(gone.code, 125);
  const disk = `a=${join(folder, "disk")}:9999999T`;
  const { code, stderr } = await startLab(["--disk", disk, "--", "true"], folder).outcome;
  assert.match(
    stderr,
    /^lab: disk a: .* can't be made \d+ bytes long: .*\nlab: give a smaller size/,
  );
  assert.equal(code, 125);
  rmSync(join(folder, "disk"));
  assert.deepEqual(leftBehind(folder, []), []);
});

test("from TypeScript: an error of the lab is the only one", async () => {
  const program = `import { captureLab } from ${JSON.stringify(join(import.meta.dirname, "../src/index.ts"))};
    await captureLab({ command: ["true"], scratch: "/none" }).catch((error) => console.log(error.name));
    await new Promise((resolve) => setTimeout(resolve, 100));
    console.log("alive");`;
  const args = ["--input-type=module", "-e", program];
  const { status, stdout } = spawnSync(process.execPath, args, { encoding: "utf8" });
  assert.equal(stdout, "LabError\nalive\n");
  assert.equal(status, 0);
});

test("with --udev, udevd makes the links under /dev/mapper", async () => {
  const temporary = ownTemporaryFolder();
  const script = `dmsetup create e2e --table '0 8 zero' && [ -L /dev/mapper/e2e ] && echo "link"
grep -q E:DM_NAME=e2e /run/udev/data/* && echo "known to udev"
dmsetup remove e2e && [ ! -e /dev/mapper/e2e ] && echo "gone"`;
  const { code, stdout, stderr } = await startLab(["--udev", "--", "bash", "-c", script], temporary)
    .outcome;
  assert.equal(stderr, "");
  assert.equal(stdout.toString("utf8"), "link\nknown to udev\ngone\n");
  assert.equal(code, 0);
  assert.deepEqual(leftBehind(temporary, []), []);
});

test("without a command, the script on stdin; --cut-after counts from its start", async () => {
  const temporary = ownTemporaryFolder();
  const input = Buffer.from("id -u; echo running; sleep 100\n");
  const { code, stdout, stderr } = await startLab(
    ["--uid", "1000", "--cut-after", "2000"],
    temporary,
    input,
  ).outcome;
  assert.equal(stdout.toString("utf8"), "1000\nrunning\n");
  assert.equal(stderr, "lab: power cut 2000 ms after the command's start\n");
  assert.equal(code, 137);
  assert.deepEqual(leftBehind(temporary, []), []);
});

test("--host inside a guest runs on the guest's own kernel", async () => {
  const temporary = ownTemporaryFolder();
  const inner = `node lab/src/main.ts --host --disk d=/tmp/disk:8M --uid 1000 -- \\
    bash -c 'echo $LAB_KERNEL $LAB_DISK_D; id -u; exit 5'; echo $?; losetup --list; ls -d /tmp/disk /tmp/thinpool-lab-* 2>/dev/null`;
  const { stdout, stderr } = await startLab(["--", "bash", "-c", inner], temporary).outcome;
  assert.equal(stderr, "");
  assert.equal(stdout.toString("utf8"), "host /dev/loop0\n1000\n5\n/tmp/disk\n");
  assert.deepEqual(leftBehind(temporary, []), []);
});

test("SIGKILL of --host leaves no loop device", async () => {
  const temporary = ownTemporaryFolder();
  const inner = `node lab/src/main.ts --host --disk d=/tmp/disk:8M -- bash -c 'echo up; sleep 100' > /tmp/said &
until grep -q up /tmp/said; do sleep 0.1; done
losetup --list --noheadings --output BACK-FILE
kill -KILL $!; wait $!
for look in {1..100}; do ls -d /tmp/thinpool-lab-* > /dev/null 2>&1 || break; sleep 0.1; done
losetup --list --noheadings; ls -d /tmp/thinpool-lab-* 2>/dev/null; echo end`;
  const { stdout } = await startLab(["--", "bash", "-c", inner], temporary).outcome;
  assert.equal(stdout.toString("utf8"), "/tmp/disk\nend\n");
  assert.deepEqual(leftBehind(temporary, []), []);
});

test("wrong usage is one line on what to do, and boots nothing", async () => {
  const temporary = ownTemporaryFolder();
  const { code, stderr } = await startLab(["ls"], temporary).outcome;
  assert.equal(code, 2);
  assert.match(stderr, /^lab: unexpected argument 'ls'\nlab: write the command after --/);
  assert.deepEqual(leftBehind(temporary, []), []);
});
