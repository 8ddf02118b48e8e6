import { NativeError } from "../errors.ts";
import type { DeviceMapper, DmDeviceInfo, DmRun, DmRunOptions, DmStep } from "./device-mapper.ts";
import { syncByNode } from "./sync-first.ts";

function runStep(dm: DeviceMapper, step: DmStep): Promise<DmDeviceInfo | string | undefined> {
  switch (step.command) {
    case "create":
      return dm.createDevice(step.name, { uuid: step.uuid });
    case "load":
      return dm.loadTable(step.device, step.table, { readOnly: step.readOnly === true });
    case "resume":
      return dm.resume(step.device);
    default: // "message"
      return dm.message(step.device, step.text);
  }
}

/** `DeviceMapper.run` by single calls: for implementations where a call costs nothing. */
export async function runOneByOne(
  dm: DeviceMapper,
  steps: readonly DmStep[],
  options: DmRunOptions = {},
): Promise<DmRun> {
  const { syncFirst, onIssued } = options;
  const failure = syncFirst === undefined ? undefined : await syncByNode(syncFirst);
  const run: DmRun =
    failure === undefined ? await runAll(dm, steps) : { infos: [], failure, unsynced: true };
  onIssued?.(run);
  return run;
}

async function runAll(dm: DeviceMapper, steps: readonly DmStep[]): Promise<DmRun> {
  const infos: (DmDeviceInfo | undefined)[] = [];
  for (const step of steps) {
    try {
      const info = await runStep(dm, step);
      infos.push(typeof info === "object" ? info : undefined);
    } catch (error) {
      if (!(error instanceof NativeError)) throw error;
      return { infos, failure: error };
    }
  }
  return { infos, failure: undefined };
}
