/**
 * The daemon as a process of its own that kills itself (SIGKILL) at one named point, run by
 * daemon-kill.test.ts as `killed-daemon.ts FOLDER SOCKET POINT`. POINT is "before" or "after" and a
 * call to the kernel, such as "after mounts.mount"; it comes to bear once the daemon has started.
 */
import { startDaemon } from "@thinpool/mount-helper";
import type { DmRunOptions, DmStep } from "@thinpool/dm-native";
import { runOneByOne } from "@thinpool/dm-native";
import type { Kernel } from "@thinpool/thinpool";
import { linuxKernel } from "@thinpool/thinpool";

const [folder = "", socketPath = "", point = ""] = process.argv.slice(2);
let armed = false;

function die(): void {
  process.kill(process.pid, "SIGKILL");
}

/** The part of the kernel with each call watched for the point. */
function watched<T extends object>(part: T, name: string): T {
  return new Proxy(part, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== "function") return value;
      return async (...args: readonly unknown[]): Promise<unknown> => {
        const call = `${name}.${String(key)}`;
        if (armed && point === `before ${call}`) die();
        const result: unknown = await Reflect.apply(value, target, args);
        if (armed && point === `after ${call}`) die();
        return result;
      };
    },
  });
}

const real = linuxKernel();
const dm = watched(real.dm, "dm");
const kernel: Kernel = {
  // Step by step: a point between two commands of one run is a point like any other.
  dm: new Proxy(dm, {
    get: (target, key) =>
      key === "run"
        ? (steps: readonly DmStep[], options?: DmRunOptions) => runOneByOne(target, steps, options)
        : (Reflect.get(target, key, target) as unknown),
  }),
  loops: real.loops,
  blocks: real.blocks,
  mounts: watched(real.mounts, "mounts"),
  filesystems: real.filesystems,
  metadataTools: real.metadataTools,
};
await startDaemon({ folder, socketPath, kernel, sessionGraceMs: 1_000, workers: "in-process" });
armed = true;
process.stdout.write("ready\n");
