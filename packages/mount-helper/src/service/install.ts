/** Installing, removing and asking about the service; the command line calls these. */
import { execFile } from "node:child_process";
import { mkdir, open, readFile, rename, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { StartError } from "../start-error.ts";
import type { UnitOptions } from "./units.ts";
import { SERVICE_UNIT, SOCKET_UNIT, SYSUSERS_FILE, unitFiles } from "./units.ts";

const SYSTEMCTL = "/usr/bin/systemctl";
const SYSUSERS = "/usr/bin/systemd-sysusers";
const COMMAND_TIMEOUT_MS = 120_000;
const FILE_MODE = 0o644;
/** systemd runs on this machine where it has made this (sd_booted(3)). */
const BOOTED = "/run/systemd/system";

const execute = promisify(execFile);

export interface InstallPlace {
  /** Below which the files go; "/" is this machine, and only there systemd is told. */
  readonly root?: string;
}

interface ServiceFile {
  readonly path: string;
  readonly kind: "service" | "socket" | "sysusers";
}

function serviceFiles({ root = "/" }: InstallPlace): readonly ServiceFile[] {
  return [
    { path: join(root, "etc/sysusers.d", SYSUSERS_FILE), kind: "sysusers" },
    { path: join(root, "etc/systemd/system", SERVICE_UNIT), kind: "service" },
    { path: join(root, "etc/systemd/system", SOCKET_UNIT), kind: "socket" },
  ];
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

async function tell(program: string, args: readonly string[]): Promise<string> {
  try {
    const { stdout } = await execute(program, [...args], { env: {}, timeout: COMMAND_TIMEOUT_MS });
    return stdout;
  } catch (error) {
    throw new StartError({
      code: "SERVICE_MANAGER",
      object: `${program} ${args.join(" ")}`,
      reason: error instanceof Error ? error.message.trim() : String(error),
      hint: "See systemctl status thinpoold.service and journalctl -u thinpoold.service.",
      cause: error,
    });
  }
}

/** Whole or not at all, also over a power cut. */
async function writeWhole(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  const beside = `${path}.new`;
  const handle = await open(beside, "w", FILE_MODE);
  try {
    await handle.writeFile(text);
    await handle.chmod(FILE_MODE);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(beside, path);
}

async function runs(): Promise<boolean> {
  try {
    await readFile(BOOTED);
    return true;
  } catch (error) {
    // It is a folder: that it is there is what was asked.
    return hasCode(error, "EISDIR");
  }
}

/**
 * Writes the units and the group's file, makes the group, and starts the socket: the daemon starts with
 * the first client, and with the machine. Can be repeated, with other options too. Returns the files.
 */
export async function installService(
  options: UnitOptions,
  place: InstallPlace = {},
): Promise<readonly string[]> {
  const texts = unitFiles(options);
  const files = serviceFiles(place);
  for (const { path, kind } of files) await writeWhole(path, texts[kind]);
  if ((place.root ?? "/") === "/" && (await runs())) {
    await tell(SYSUSERS, [SYSUSERS_FILE]);
    await tell(SYSTEMCTL, ["daemon-reload"]);
    await tell(SYSTEMCTL, ["enable", "--now", SOCKET_UNIT]);
    await tell(SYSTEMCTL, ["enable", SERVICE_UNIT]);
  }
  return files.map(({ path }) => path);
}

/** Stops it (mounts stay) and removes its files; the group stays. Returns what was there. */
export async function uninstallService(place: InstallPlace = {}): Promise<readonly string[]> {
  const isHere = (place.root ?? "/") === "/" && (await runs());
  const status = await serviceStatus(place);
  if (isHere && status.installed) {
    await tell(SYSTEMCTL, ["disable", "--now", SOCKET_UNIT, SERVICE_UNIT]);
  }
  const removed: string[] = [];
  for (const { path } of serviceFiles(place)) {
    try {
      await unlink(path);
      removed.push(path);
    } catch (error) {
      if (!hasCode(error, "ENOENT")) throw error;
    }
  }
  if (isHere) await tell(SYSTEMCTL, ["daemon-reload"]);
  return removed;
}

export interface ServiceStatus {
  readonly installed: boolean;
  /** "active", "inactive", "failed" …; undefined where systemd does not run. */
  readonly service: string | undefined;
  readonly socket: string | undefined;
}

export async function serviceStatus(place: InstallPlace = {}): Promise<ServiceStatus> {
  const present = await Promise.all(
    serviceFiles(place).map(({ path }) =>
      readFile(path).then(
        () => true,
        (error: unknown) => {
          if (hasCode(error, "ENOENT")) return false;
          throw error;
        },
      ),
    ),
  );
  const installed = present.every(Boolean);
  if ((place.root ?? "/") !== "/" || !(await runs())) {
    return { installed, service: undefined, socket: undefined };
  }
  const stateOf = async (unit: string): Promise<string> =>
    (await tell(SYSTEMCTL, ["show", "--property=ActiveState", "--value", unit])).trim();
  const [service, socket] = [await stateOf(SERVICE_UNIT), await stateOf(SOCKET_UNIT)];
  return { installed, service, socket };
}
