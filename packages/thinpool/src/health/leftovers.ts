/** dm devices and loops of a pool that should not be there. */
import { dmDevicesOf } from "../dm-devices.ts";
import type { Engine } from "../engine.ts";
import { exists } from "../folder.ts";
import type { Kernel } from "../kernel.ts";
import type { PoolRecord } from "../store/ledger.ts";
import type { Finding } from "./findings.ts";

/** Of an open pool: thin devices that are live and not known to be active; a second loop on a file. */
export async function leftoversOfOpen(engine: Engine): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const { deviceUuid, info } of await engine.thins.live()) {
    if (engine.states.isActive(deviceUuid)) continue;
    findings.push(dmLeftover(info.name, "no active device of the pool explains it"));
  }
  const used = [engine.backing.data.path, engine.backing.metadata.path];
  const loops = await loopsOf(engine.kernel, engine.poolRecord);
  for (const { path, file } of loops.filter((loop) => !used.includes(loop.path))) {
    findings.push(loopLeftover(path, `it is attached to ${file} beside the pool's own`));
  }
  return findings;
}

/** Of a closed pool: whatever is there. */
export async function leftoversOfClosed(
  kernel: Kernel,
  record: PoolRecord,
): Promise<readonly Finding[]> {
  const devices = await dmDevicesOf(kernel, record.uuid);
  const reason = "the pool has no owner, and it is there";
  return [
    ...devices.map(({ name }) => dmLeftover(name, reason)),
    ...(await loopsOf(kernel, record)).map(({ path, file }) =>
      loopLeftover(path, `the pool has no owner, and it is attached to ${file}`),
    ),
  ];
}

/** The loops on a pool's files. */
export async function loopsOf(
  kernel: Kernel,
  record: PoolRecord,
): Promise<readonly { readonly path: string; readonly file: string }[]> {
  if (record.backing !== "files") return [];
  const found: { path: string; file: string }[] = [];
  for (const file of [record.dataPath, record.metadataPath]) {
    if (!(await exists(file))) continue;
    const loops = await kernel.loops.findByBackingFile(file);
    found.push(...loops.map(({ path }) => ({ path, file })));
  }
  return found;
}

function dmLeftover(object: string, reason: string): Finding {
  const action = `Open the pool: opening adopts or removes it; or dmsetup remove ${object}.`;
  return { code: "DM_LEFTOVER", object, reason, action };
}

function loopLeftover(object: string, reason: string): Finding {
  const action = `Open the pool: opening adopts it; or losetup -d ${object}.`;
  return { code: "LOOP_LEFTOVER", object, reason, action };
}
