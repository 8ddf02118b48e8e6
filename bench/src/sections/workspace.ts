/** A private, writable copy of a large tree for a job: how long until it is there, what it takes, how it writes. */
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { createPool } from "@thinpool/thinpool";
import type { Bench, Section } from "../section.ts";
import { shell } from "../shell.ts";
import { BLOCK_SECTORS, METADATA_BYTES } from "../sizes.ts";

/** Like an installed tree of packages: many small files, some large. */
const FILES = 20_000;
const QUICK_FILES = 1_000;
const FILE_BYTES = 48 * 1024;
const FOLDER_FILES = 100;
const WRITES = 1_000;
const DEVICE_BYTES = 4n << 30n;
const DATA_BYTES = 12n << 30n;

function makeTree(at: string, files: number): void {
  const content = Buffer.alloc(FILE_BYTES, "thinpool ");
  for (let index = 0; index < files; index += 1) {
    const folder = `${at}/d${Math.floor(index / FOLDER_FILES)}`;
    if (index % FOLDER_FILES === 0) mkdirSync(folder, { recursive: true });
    writeFileSync(`${folder}/f${index}`, content);
  }
}

/** A small write into each of 1,000 files of the copy. */
function write(bench: Bench, who: string, at: string): void {
  const start = performance.now();
  for (let index = 0; index < WRITES; index += 1) {
    writeFileSync(`${at}/d${Math.floor(index / FOLDER_FILES)}/f${index}`, "changed", {
      flag: "r+",
    });
  }
  shell("sync", "-f", at);
  bench.recorder.add(`workspace-first-writes/${who}`, "ms", performance.now() - start);
}

function usedMiB(path: string): number {
  const [, kib = "0"] = shell("df", "-k", "--output=used", path).trim().split("\n");
  return Number(kib) / 1024;
}

/** Makes, writes to and removes one copy; `make` ends when the tree can be written to. */
async function copy(
  bench: Bench,
  who: string,
  space: () => Promise<number>,
  make: () => Promise<string>,
  remove: () => Promise<void>,
): Promise<void> {
  const { recorder } = bench;
  const before = await space();
  const at = await recorder.time(`workspace-ready/${who}`, make);
  write(bench, who, at);
  recorder.add(`workspace-space/${who}`, "MiB", (await space()) - before);
  await recorder.time(`workspace-remove/${who}`, remove);
}

export const workspace: Section = {
  name: "workspace",
  what: "a private copy of a tree: clone, cp -a, cp --reflink on xfs, overlayfs, tar",
  kernel: "uml",
  needs: [],
  async run(bench) {
    const { kernel, folder, quick } = bench;
    const files = quick ? QUICK_FILES : FILES;
    shell("modprobe", "-d", "/run/lab/modules", "overlay");
    const at = (name: string): string => {
      mkdirSync(`${folder}/${name}`, { recursive: true });
      return `${folder}/${name}`;
    };
    const pool = await createPool({
      folder: `${folder}/pool`,
      kernel,
      backing: { type: "files", dataBytes: DATA_BYTES, metadataBytes: METADATA_BYTES },
      blockSectors: BLOCK_SECTORS,
    });
    await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES });
    const { device: base } = await pool.activate({ name: "base" });
    shell("mount", base.path, at("base"));
    makeTree(`${folder}/base`, files);
    shell("umount", `${folder}/base`);
    await pool.deactivate({ name: "base" });

    const plain = at("plain");
    makeTree(`${plain}/tree`, files);
    shell("tar", "-C", `${plain}/tree`, "-cf", `${plain}/tree.tar`, ".");
    writeFileSync(`${folder}/xfs.img`, "");
    truncateSync(`${folder}/xfs.img`, Number(DEVICE_BYTES));
    const loop = await kernel.loops.attach({ backingFile: `${folder}/xfs.img`, directIo: true });
    shell("mkfs.xfs", "-q", "-f", "-m", "reflink=1", loop.path);
    shell("mount", loop.path, at("xfs"));
    makeTree(`${folder}/xfs/tree`, files);
    shell("sync");

    const removeTree = async (path: string): Promise<void> => void shell("rm", "-rf", path);
    const plainSpace = async (): Promise<number> => {
      shell("sync", "-f", plain);
      return usedMiB(plain);
    };
    // Threads start, and modules are read, at the first call.
    const warm = await pool.snapshot({ origin: "base", name: "warm", activate: true });
    await kernel.mounts.mount({
      ...{ source: warm.device.path, type: "ext4", target: at("job"), flags: { noSuid: true } },
    });
    await kernel.mounts.unmount(`${folder}/job`);
    await pool.remove({ name: "warm" });
    for (const round of bench.rounds({ quick: 1, full: 5, quickSeconds: 15 })) {
      const name = `job-${round}`;
      await copy(
        bench,
        "clone",
        async () => Number((await pool.status()).dataUsedBytes) / 2 ** 20,
        async () => {
          const { device } = await pool.snapshot({ origin: "base", name, activate: true });
          await kernel.mounts.mount({
            ...{ source: device.path, type: "ext4", target: at("job"), flags: { noSuid: true } },
          });
          return `${folder}/job`;
        },
        async () => {
          await kernel.mounts.unmount(`${folder}/job`);
          await pool.remove({ name });
        },
      );
      await copy(
        bench,
        "cp-a",
        plainSpace,
        async () => {
          shell("cp", "-a", `${plain}/tree`, `${plain}/copy`);
          return `${plain}/copy`;
        },
        () => removeTree(`${plain}/copy`),
      );
      await copy(
        bench,
        "cp-reflink-xfs",
        async () => {
          shell("sync", "-f", `${folder}/xfs`);
          return usedMiB(`${folder}/xfs`);
        },
        async () => {
          shell("cp", "-a", "--reflink=always", `${folder}/xfs/tree`, `${folder}/xfs/copy`);
          return `${folder}/xfs/copy`;
        },
        () => removeTree(`${folder}/xfs/copy`),
      );
      await copy(
        bench,
        "overlayfs",
        plainSpace,
        async () => {
          const layers = ["upper", "work", "merged"].map((layer) => at(`plain/${layer}`));
          const [upper = "", work = "", merged = ""] = layers;
          const options = `lowerdir=${plain}/tree,upperdir=${upper},workdir=${work}`;
          shell("mount", "-t", "overlay", "overlay", "-o", options, merged);
          return merged;
        },
        async () => {
          shell("umount", `${plain}/merged`);
          for (const layer of ["upper", "work"]) await removeTree(`${plain}/${layer}`);
        },
      );
      await copy(
        bench,
        "tar",
        plainSpace,
        async () => {
          shell("tar", "-C", at("plain/untarred"), "-xf", `${plain}/tree.tar`);
          return `${plain}/untarred`;
        },
        () => removeTree(`${plain}/untarred`),
      );
    }
    await pool.close();
    shell("umount", `${folder}/xfs`);
    await kernel.loops.detach(loop.path);
  },
};
