/**
 * `prepare.ts IMAGE BASE [SQL]`, once, and again when the schema changes: makes BASE, a clone of the
 * empty IMAGE with a data folder on which PostgreSQL was started once and the SQL run.
 */
import { join } from "node:path";
import type { Client } from "@thinpool/sdk";
import { connect, hasCode } from "@thinpool/sdk";
import { binFolder, run, startServer } from "./postgres.ts";

/** Small logs, and no passwords: whoever can open the socket is let in. */
const INITDB = [
  "--username=postgres",
  "--auth=trust",
  "--wal-segsize=1",
  "--no-locale",
  "--no-sync",
];
const ENCODING = "--encoding=UTF8";

async function removeIfThere(client: Client, name: string): Promise<void> {
  try {
    await client.remove({ name });
  } catch (error) {
    if (!hasCode(error, "NOT_FOUND")) throw error;
  }
}

const [image, base, sql = "select"] = process.argv.slice(2);
if (image === undefined || base === undefined) {
  process.stderr.write("usage: prepare.ts IMAGE BASE [SQL]\n");
  process.exit(2);
}
await using client = await connect();
// Under another name until it is whole: tests never clone a half-made one.
const name = `${base}.new`;
await removeIfThere(client, name);
const device = await client.clone({ origin: image, name });
{
  await using mount = await device.mount();
  const data = join(mount.path, "data");
  await run(join(await binFolder(), "initdb"), ["-D", data, ENCODING, ...INITDB]);
  await using server = await startServer(data);
  await server.query(sql);
}
await removeIfThere(client, base);
await client.devices.rename({ name, to: base });
