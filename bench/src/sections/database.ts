/** A private database for a test: PostgreSQL on a clone beside createdb -T and a restored dump. */
import { chownSync, mkdirSync } from "node:fs";
import { createPool } from "@thinpool/thinpool";
import type { Bench, Section } from "../section.ts";
import { shell } from "../shell.ts";
import { BLOCK_SECTORS, METADATA_BYTES } from "../sizes.ts";

const DEVICE_BYTES = 4n << 30n;
const DATA_BYTES = 10n << 30n;
/** pgbench: about 15 MB of tables for each unit. */
const QUICK_SCALES = [1];
const SCALES = [1, 10];
const DATABASE = "template_app";

/** The package's own user: initdb wants one that has a name. */
function postgresUid(): number {
  return Number(shell("id", "-u", "postgres"));
}

/** The newest installed version's programs. */
function programs(): string {
  const folders = shell("sh", "-c", "ls -d /usr/lib/postgresql/*/bin").trim().split("\n");
  const [newest] = folders.toSorted().toReversed();
  if (newest === undefined) throw new Error("no PostgreSQL");
  return newest;
}

class Server {
  readonly #bin = programs();
  readonly #uid = postgresUid();
  readonly #data: string;
  readonly #socket: string;

  constructor(data: string, socket: string) {
    this.#data = data;
    this.#socket = socket;
    mkdirSync(socket, { recursive: true });
    chownSync(socket, this.#uid, this.#uid);
  }

  run(program: string, ...args: readonly string[]): string {
    const command = [`${this.#bin}/${program}`, ...args];
    const user = [`--reuid=${this.#uid}`, `--regid=${this.#uid}`, "--clear-groups"];
    return shell("setpriv", ...user, ...command);
  }

  sql(program: string, ...args: readonly string[]): string {
    return this.run(program, "-h", this.#socket, "-U", "bench", ...args);
  }

  init(): void {
    this.run("initdb", "-D", this.#data, "-U", "bench", "-A", "trust", "--no-sync");
  }

  /** Ends when it takes connections. */
  start(): void {
    const options = `-c listen_addresses= -c unix_socket_directories=${this.#socket}`;
    const log = `${this.#socket}/log`;
    this.run("pg_ctl", "-D", this.#data, "-l", log, "-o", options, "-w", "-t", "120", "start");
  }

  stop(): void {
    this.run("pg_ctl", "-D", this.#data, "-m", "fast", "-w", "-t", "120", "stop");
  }
}

async function atScale(bench: Bench, scale: number): Promise<void> {
  const { kernel, recorder } = bench;
  const folder = `${bench.folder}/scale-${scale}`;
  mkdirSync(folder);
  const pool = await createPool({
    folder: `${folder}/pool`,
    kernel,
    backing: { type: "files", dataBytes: DATA_BYTES, metadataBytes: METADATA_BYTES },
    blockSectors: BLOCK_SECTORS,
  });
  await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES });
  const mount = (source: string, name: string): string => {
    mkdirSync(`${folder}/${name}`, { recursive: true });
    shell("mount", source, `${folder}/${name}`);
    return `${folder}/${name}`;
  };
  const { device: base } = await pool.activate({ name: "base" });
  const at = mount(base.path, "base");
  chownSync(at, postgresUid(), postgresUid());
  const server = new Server(`${at}/data`, `/run/bench-postgres-${scale}`);
  server.init();
  server.start();
  server.sql("createdb", DATABASE);
  server.sql("pgbench", "-i", "-q", "-s", `${scale}`, DATABASE);
  const dump = `/run/bench-postgres-${scale}/dump`;
  server.sql("pg_dump", "-Fc", "-f", dump, DATABASE);
  server.stop();
  shell("umount", at);
  await pool.deactivate({ name: "base" });

  // A server that runs already, for those that copy inside of it.
  const shared = await pool.snapshot({ origin: "base", name: "shared", activate: true });
  const running = new Server(
    `${mount(shared.device.path, "shared")}/data`,
    `/run/bench-shared-${scale}`,
  );
  running.start();
  const ready = (of: Server, database: string): void => {
    of.sql("psql", "-qAt", "-c", "UPDATE pgbench_tellers SET tbalance = 1 WHERE tid = 1", database);
  };
  for (const round of bench.rounds({ quick: 1, full: 5, quickSeconds: 15 })) {
    const name = `test-${round}`;
    const own = await recorder.time(`database-ready-scale-${scale}/clone`, async () => {
      const { device } = await pool.snapshot({ origin: "base", name, activate: true });
      const data = `${mount(device.path, "own")}/data`;
      const started = new Server(data, `/run/bench-own-${scale}`);
      started.start();
      ready(started, DATABASE);
      return started;
    });
    own.stop();
    shell("umount", `${folder}/own`);
    await pool.remove({ name });
    await recorder.time(`database-ready-scale-${scale}/createdb-T`, () => {
      running.sql("createdb", "-T", DATABASE, "copy");
      ready(running, "copy");
    });
    running.sql("dropdb", "copy");
    await recorder.time(`database-ready-scale-${scale}/restored-dump`, () => {
      running.sql("createdb", "restored");
      running.sql("pg_restore", "-d", "restored", dump);
      ready(running, "restored");
    });
    running.sql("dropdb", "restored");
  }
  running.stop();
  shell("umount", `${folder}/shared`);
  await pool.close();
}

export const database: Section = {
  name: "database",
  what: "PostgreSQL: a clone with a server of its own, createdb -T, a restored dump",
  kernel: "uml",
  needs: [{ package: "postgresql", needs: "/usr/share/postgresql-common" }],
  async run(bench) {
    for (const scale of bench.quick ? QUICK_SCALES : SCALES) await atScale(bench, scale);
  },
};
