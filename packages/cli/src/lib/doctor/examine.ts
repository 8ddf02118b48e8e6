/** All that `doctor` looks at. It changes nothing but the loading of the kernel's own modules. */
import { daemon, freeSpace } from "./daemon.ts";
import { type Diagnosis, diagnose } from "./finding.ts";
import {
  capabilities,
  container,
  deviceMapper,
  kernelRelease,
  loopDevices,
  udev,
} from "./kernel.ts";
import { tools } from "./tools.ts";

export async function examine(options: {
  readonly socketPath: string;
  readonly folder: string;
}): Promise<Diagnosis> {
  const groups = await Promise.all([
    capabilities(),
    deviceMapper(),
    loopDevices(),
    udev(),
    container(),
    tools(),
    freeSpace(options.folder),
    daemon(options.socketPath),
  ]);
  return diagnose([kernelRelease(), ...groups.flat()]);
}
