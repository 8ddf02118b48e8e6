/** The kernel's side: device-mapper, its targets, loop devices, udev, and what a container takes away. */
import { access, constants, readFile, readdir } from "node:fs/promises";
import { release } from "node:os";
import type { Finding } from "./finding.ts";

/** Idmapped mounts of ext4 and xfs: mount_setattr(2), "Linux 5.12". */
const LEAST_KERNEL = [5, 12] as const;
/** capabilities(7). */
const CAP_SYS_ADMIN = 21n;

async function readable(path: string): Promise<boolean> {
  try {
    await access(path, constants.R_OK);
    return true;
  } catch {
    // Whatever the reason: for who asks it is not there to be read.
    return false;
  }
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch {
    // Kernels built without the feature have no such file: nothing of it is there.
    return "";
  }
}

export function kernelRelease(): Finding {
  const [major = 0, minor = 0] = release().split(/[.-]/).map(Number);
  const fits = major > LEAST_KERNEL[0] || (major === LEAST_KERNEL[0] && minor >= LEAST_KERNEL[1]);
  return {
    topic: "kernel",
    state: fits ? "ok" : "lacking",
    needed: true,
    found: `Linux ${release()}; ${LEAST_KERNEL.join(".")} or newer has idmapped mounts`,
    ...(fits ? {} : { mend: "Run a newer kernel." }),
  };
}

/** Root asks the kernel itself; others see only what /proc shows. */
export async function deviceMapper(): Promise<readonly Finding[]> {
  if (process.geteuid?.() === 0) return await askDeviceMapper();
  const loaded = /^ *\d+ device-mapper$/m.test(await textOf("/proc/misc"));
  const found = loaded
    ? "it is loaded; only root can ask it for its version and targets"
    : "it is not loaded, and only root can load it";
  return [
    { topic: "device-mapper", state: loaded ? "ok" : "unknown", needed: true, found },
    { topic: "thin-pool", state: "unknown", needed: true, found: "only root can ask for it" },
  ];
}

async function askDeviceMapper(): Promise<readonly Finding[]> {
  const { LinuxDeviceMapper } = await import("@thinpool/dm-native");
  const dm = new LinuxDeviceMapper();
  try {
    const mapper = await finding("device-mapper", "modprobe dm-mod", async () => {
      const { major, minor, patch } = await dm.version();
      return `interface ${major}.${minor}.${patch}`;
    });
    if (mapper.state !== "ok") return [mapper];
    const thin = await finding("thin-pool", "modprobe dm-thin-pool", async () => {
      const { major, minor, patch } = await dm.targetVersion("thin-pool");
      return `target ${major}.${minor}.${patch}`;
    });
    return [mapper, thin];
  } finally {
    await dm.close();
  }
}

async function finding(topic: string, mend: string, look: () => Promise<string>): Promise<Finding> {
  try {
    return { topic, state: "ok", needed: true, found: await look() };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { topic, state: "lacking", needed: true, found: reason, mend };
  }
}

export async function capabilities(): Promise<Finding> {
  const status = await textOf("/proc/self/status");
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  const has = effective !== undefined && (BigInt(`0x${effective}`) >> CAP_SYS_ADMIN) % 2n === 1n;
  const found = has ? "CAP_SYS_ADMIN is held" : "CAP_SYS_ADMIN is not held";
  if (has) return { topic: "capabilities", state: "ok", needed: true, found };
  return {
    topic: "capabilities",
    state: process.geteuid?.() === 0 ? "lacking" : "unknown",
    needed: true,
    found: `${found}: this user can use a pool but not serve one`,
    mend:
      process.geteuid?.() === 0
        ? "Start the container with --cap-add SYS_ADMIN, or serve the pool outside of it."
        : "sudo thinpool doctor",
  };
}

export async function loopDevices(): Promise<Finding> {
  const topic = "loop";
  if (await readable("/dev/loop-control")) {
    const inUse = (await readdir("/sys/block")).filter((name) => name.startsWith("loop"));
    return { topic, state: "ok", needed: false, found: `${inUse.length} loop devices are known` };
  }
  const hidden =
    process.geteuid?.() !== 0 && /^ *\d+ loop-control$/m.test(await textOf("/proc/misc"));
  if (hidden) return { topic, state: "ok", needed: false, found: "/dev/loop-control is root's" };
  return {
    topic,
    state: "lacking",
    needed: false,
    found: "/dev/loop-control is missing: pools on sparse files need it, pools on devices do not",
    mend: "modprobe loop",
  };
}

export async function udev(): Promise<Finding> {
  const runs = await readable("/run/udev/control");
  const found = runs
    ? "udevd runs: nodes are made by it, and waited for with a limit"
    : "no udevd runs: thinpool makes the nodes under /dev/mapper itself";
  return { topic: "udev", state: "ok", needed: false, found };
}

/** A container often has the kernel's dm but not the rights, the nodes, or mounts that others see. */
export async function container(): Promise<Finding> {
  const marks = await Promise.all(["/run/.containerenv", "/.dockerenv"].map(readable));
  const inside = marks.includes(true) || (await textOf("/run/systemd/container")) !== "";
  return {
    topic: "container",
    state: "ok",
    needed: false,
    found: inside
      ? "this is a container: mounts made here are seen only inside, and it needs /dev of the host"
      : "this is no container that says so",
  };
}
