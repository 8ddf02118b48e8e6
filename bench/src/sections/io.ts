/** I/O through a mounted clone beside a file on a plain loop device: the price of thin provisioning. */
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { BASE, makeEnginePool } from "../peers/engine.ts";
import type { Bench, Section } from "../section.ts";
import { shell } from "../shell.ts";
import { DATA_BYTES } from "../sizes.ts";

const FILE_MIB = 64;

interface Job {
  readonly name: string;
  readonly rw: "read" | "write" | "randread" | "randwrite";
  readonly blockBytes: number;
}

const JOBS: readonly Job[] = [
  { name: "sequential-read", rw: "read", blockBytes: 2 ** 20 },
  { name: "sequential-write", rw: "write", blockBytes: 2 ** 20 },
  { name: "random-read", rw: "randread", blockBytes: 4096 },
  { name: "random-write", rw: "randwrite", blockBytes: 4096 },
];

interface FioResult {
  readonly jobs: readonly {
    readonly read: { readonly bw_bytes: number; readonly iops: number };
    readonly write: { readonly bw_bytes: number; readonly iops: number };
  }[];
}

/** Direct I/O, one request at a time, on a file that is there. */
function fio(file: string, job: Job, limits: readonly string[]): FioResult["jobs"][number]["read"] {
  const text = shell(
    "fio",
    ...["--name=bench", `--filename=${file}`, `--rw=${job.rw}`, `--bs=${job.blockBytes}`],
    ...[`--size=${FILE_MIB}M`, "--direct=1", "--ioengine=psync", "--output-format=json"],
    ...["--thread", "--randrepeat=1", ...limits],
  );
  const [result] = (JSON.parse(text.slice(text.indexOf("{"))) as FioResult).jobs;
  if (result === undefined) throw new Error(`fio: ${text}`);
  return job.rw.endsWith("read") ? result.read : result.write;
}

function measure(bench: Bench, who: string, job: Job, file: string, limits: string[]): void {
  const { bw_bytes: bytes, iops } = fio(file, job, limits);
  if (job.blockBytes > 4096) bench.recorder.add(`io-${job.name}/${who}`, "MiB/s", bytes / 2 ** 20);
  else bench.recorder.add(`io-${job.name}/${who}`, "IOPS", iops);
}

export const io: Section = {
  name: "io",
  what: "fio through a mounted clone beside a file on a plain loop device",
  kernel: "uml",
  needs: [{ package: "fio", needs: "fio" }],
  async run(bench) {
    const { kernel, folder, quick } = bench;
    const limits = ["--time_based", `--runtime=${quick ? "500ms" : "2s"}`];
    const at = (name: string): string => {
      mkdirSync(`${folder}/${name}`, { recursive: true });
      return `${folder}/${name}`;
    };
    const fill = (file: string): void => {
      fio(file, { name: "fill", rw: "write", blockBytes: 2 ** 20 }, ["--end_fsync=1"]);
    };
    writeFileSync(`${folder}/plain.img`, "");
    truncateSync(`${folder}/plain.img`, Number(DATA_BYTES));
    const loop = await kernel.loops.attach({
      backingFile: `${folder}/plain.img`,
      directIo: true,
    });
    shell("mkfs.ext4", "-q", "-F", loop.path);
    shell("mount", loop.path, at("plain"));
    fill(`${folder}/plain/file`);

    const pool = await makeEnginePool(kernel, `${folder}/pool`);
    const { device: base } = await pool.activate({ name: BASE });
    shell("mount", base.path, at("base"));
    fill(`${folder}/base/file`);
    shell("umount", `${folder}/base`);
    await pool.deactivate({ name: BASE });

    for (const round of bench.rounds({ quick: 1, full: 5, quickSeconds: 15 })) {
      // Each round has a clone of its own: at first all its blocks are the base's.
      const name = `clone-${round}`;
      const { device } = await pool.snapshot({ origin: BASE, name, activate: true });
      shell("mount", device.path, at("clone"));
      const clone = `${folder}/clone/file`;
      const shared: Job = { name: "shared-read", rw: "randread", blockBytes: 4096 };
      measure(bench, "clone", shared, clone, limits);
      // One write into each block of 256 KiB: every one is copied first.
      const first: Job = { name: "first-write", rw: "write", blockBytes: 4096 };
      const spread = [`--zonemode=strided`, "--zonesize=4k", "--zonerange=256k", `--io_size=1M`];
      measure(bench, "clone", first, clone, spread);
      measure(bench, "plain", first, `${folder}/plain/file`, spread);
      for (const job of JOBS) {
        measure(bench, "plain", job, `${folder}/plain/file`, limits);
        measure(bench, "clone", job, clone, limits);
      }
      shell("umount", `${folder}/clone`);
      await pool.remove({ name });
    }
    await pool.close();
    shell("umount", `${folder}/plain`);
    await kernel.loops.detach(loop.path);
  },
};
