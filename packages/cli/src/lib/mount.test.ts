import assert from "node:assert/strict";
import { test } from "node:test";
import type { MountEntry } from "@thinpool/sdk";
import { failureOf } from "./errors.ts";
import { referenceMeant, renderMounts } from "./mount.ts";

const UID = 1000;
const entry = (reference: string, device: string, ownerUid: number): MountEntry => ({
  reference,
  device,
  ownerUid,
  path: `/run/thinpool/mounts/${ownerUid}/${device}`,
  count: 2,
});
const listed = [entry("first", "a", UID), entry("second", "a", UID), entry("other", "b", 0)];
type Asked = Parameters<typeof referenceMeant>[1];
const rights = { whoAmI: async () => ({ uid: UID }) } as Asked["rights"];
const client: Asked = { mounts: async () => listed, rights };
const silent: Asked = {
  mounts: () => Promise.reject(new Error("must not be asked")),
  rights: undefined as never,
};

test("a device's name means the caller's last reference to it", async () => {
  assert.equal(await referenceMeant({ operation: "umount", what: "a" }, client), "second");
});

test("a reference means itself, and nothing is asked", async () => {
  const reference = "3d6a9a6c-0000-4000-8000-0123456789ab";
  assert.equal(await referenceMeant({ operation: "umount", what: reference }, silent), reference);
});

test("a device that another has mounted, or nobody, is not mounted by the caller", async () => {
  for (const device of ["b", "c", ""]) {
    await assert.rejects(referenceMeant({ operation: "umount", what: device }, client), (error) => {
      const { code, exitCode, message } = failureOf(error);
      assert.deepEqual([code, exitCode], ["NOT_MOUNTED", 3]);
      assert.ok(message.includes(JSON.stringify(device)));
      return true;
    });
  }
});

test("a table of mounts", () => {
  assert.equal(
    renderMounts([entry("r", "a", UID)]),
    "DEVICE  PATH                         OWNER  COUNT  REFERENCE\n" +
      "a       /run/thinpool/mounts/1000/a   1000      2  r",
  );
});
