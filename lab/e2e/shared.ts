import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { leftBehind, ownTemporaryFolder } from "./left-behind.ts";
import { startLab, type LabOutcome } from "./lab-process.ts";

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const mebibyte = 1024 * 1024;

/** Tests that hold for every guest alike. Each starts the lab at least once. */
export function guestTests(kernel: "uml" | "qemu"): void {
  const run = async (
    options: readonly string[],
    script: string,
    input?: Uint8Array,
  ): Promise<LabOutcome> => {
    const temporary = ownTemporaryFolder();
    const args = ["--kernel", kernel, "--timeout", "120", ...options, "--", "bash", "-c", script];
    const outcome = await startLab(args, temporary, input).outcome;
    assert.deepEqual(leftBehind(temporary, []), []);
    return outcome;
  };

  test(`${kernel}: exit code, both streams, and every byte of them come through`, async () => {
    const bytes = randomBytes(mebibyte);
    const outcome = await run(["--stdin"], "tee /dev/stderr; exit 7", bytes);
    assert.equal(outcome.code, 7);
    assert.equal(sha256(outcome.stdout), sha256(bytes));
    // Compared as text: same bytes in, same characters out. Not with equal(), which prints them.
    assert.ok(outcome.stderr === bytes.toString("utf8"), "stderr differs");
  });

  test(`${kernel}: host read-only, scratch writable, any uid can run Node and read the repository`, async () => {
    const folder = ownTemporaryFolder();
    const scratch = join(folder, "deep", "scratch");
    mkdirSync(scratch, { recursive: true });
    try {
      const outcome = await run(
        ["--scratch", scratch, "--env", "GREETING=good day"],
        `set -e
for place in /etc /usr /opt "$PWD"; do
  if touch $place/lab-e2e 2>/dev/null; then echo "$place is writable" >&2; exit 1; fi
done
touch /tmp/a /run/a /var/tmp/a /var/lib/a /mnt/a /dev/shm/a $HOME/a
echo from the guest > ${scratch}/file
[ "$LAB_SCRATCH" = ${scratch} ] && [ "$GREETING" = "good day" ] && [ $LAB_KERNEL = ${kernel} ]
dmsetup targets | grep -q thin-pool
ip -o link show lo | grep -q UP
as-uid 1000 bash -c 'id -u; id -G; [ -w $HOME ] && cd "$0" && node -p "typeof JSON.parse(fs.readFileSync(\\"package.json\\"))"' "$PWD"`,
      );
      assert.equal(outcome.stderr, "");
      assert.equal(outcome.stdout.toString("utf8"), "1000\n1000\nobject\n");
      assert.equal(outcome.code, 0);
      assert.equal(readFileSync(join(scratch, "file"), "utf8"), "from the guest\n");
      assert.equal(existsSync("/etc/lab-e2e"), false);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test(`${kernel}: a disk survives boots; a power cut loses what was not flushed`, async () => {
    const folder = ownTemporaryFolder();
    const disk = `data-1=${join(folder, "disk")}:64M`;
    try {
      const cut = await run(
        ["--disk", disk, "--cut-on", "CUT HERE"],
        // Open throughout: the last close of a block device would flush it.
        `exec 5<>$LAB_DISK_DATA_1
printf flushed | dd of=$LAB_DISK_DATA_1 conv=fsync status=none
printf cached | dd of=/dev/disk/lab/data-1 bs=1M seek=1 status=none
echo CUT HERE; sleep 100`,
      );
      assert.equal(cut.code, 137);
      assert.match(cut.stderr, /lab: power cut on 'CUT HERE'\n$/);
      const after = await run(
        ["--disk", disk],
        `head -c 7 $LAB_DISK_DATA_1; dd if=$LAB_DISK_DATA_1 bs=1M skip=1 count=1 status=none | tr -d '\\0'`,
      );
      assert.equal(after.code, 0);
      assert.equal(after.stdout.toString("utf8"), "flushed");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}
