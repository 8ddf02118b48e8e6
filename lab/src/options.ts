import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { LabError } from "./lab-error.ts";

export const labKernels = ["uml", "qemu", "host"] as const;
export type LabKernel = (typeof labKernels)[number];

/** A disk that survives boots: a sparse file on the host, a block device in the guest. */
export interface LabDisk {
  /** Lower-case letters, digits, `-` and `_`; at most 20 characters (virtio's serial number). */
  readonly name: string;
  /** Absolute path of the file on the host. */
  readonly file: string;
  /** Bytes. Given: the file is made, or grown, to this size. Not given: the file must exist. */
  readonly size?: number;
}

/** What one run of the lab does. */
export interface LabOptions {
  readonly kernel: LabKernel;
  /** Program and arguments; empty means a shell. */
  readonly command: readonly string[];
  /** Counted from the start of the kernel. */
  readonly timeoutSeconds: number;
  /** The guest's memory; undefined: 1024 in uml, 2048 in qemu. */
  readonly memoryMiB?: number;
  /** Host folder, writable in the guest at the same path. */
  readonly scratch?: string;
  readonly disks: readonly LabDisk[];
  /** Power cut this many milliseconds after the command's start. */
  readonly cutAfterMs?: number;
  /** Power cut when this text appears in stdout or stderr. */
  readonly cutOn?: string;
  /** Run the command with this uid and gid and no further groups. */
  readonly uid?: number;
  /** Run udevd in the guest. */
  readonly udev: boolean;
  /** Environment beside the fixed one. */
  readonly env: Readonly<Record<string, string>>;
  /** Folder where the command starts. */
  readonly cwd: string;
  /** Give the command this process's stdin, read to its end before the start. */
  readonly stdin: boolean;
  /** Show the kernel's console on stderr. */
  readonly verbose: boolean;
}

export const defaultTimeoutSeconds = 600;
/** uml has ubda to ubdp. */
export const maxDisks = 16;

export const usage: string = `Usage: ./run lab [options] -- COMMAND...
       ./run lab [options]              a shell (or the script on stdin)

Boots a kernel with dm-thin and runs COMMAND in it as root. stdout, stderr and the exit code
pass through. The host's files are there at the same paths, read-only; /tmp, /run, /var/tmp,
/var/lib, /var/log, /mnt, /root and /dev/shm are empty and writable, and forgotten at the end.

  --kernel uml|qemu     User Mode Linux (default), or Debian's kernel with two CPUs in qemu
  --host                no guest: run on this machine (root, dm-thin needed)
  --timeout SECONDS     end the run after this time (default ${defaultTimeoutSeconds})
  --memory MIB          the guest's memory (default 1024, qemu 2048)
  --scratch FOLDER      host folder, writable in the guest at the same path ($LAB_SCRATCH)
  --disk NAME=FILE[:SIZE]
                        persistent disk, /dev/disk/lab/NAME and $LAB_DISK_NAME in the guest;
                        with SIZE (K, M, G, T) the sparse file is made where missing
  --cut-after MS        power cut MS milliseconds after COMMAND's start
  --cut-on MARKER       power cut when MARKER appears in the output
  --uid N               run COMMAND as uid and gid N, without other groups
  --udev                run udevd in the guest
  --env NAME=VALUE      set a variable for COMMAND
  --stdin               COMMAND gets this program's stdin (read to its end first)
  --verbose             show the kernel's console on stderr
  --help

In the guest: 'as-uid N COMMAND...' runs a step as another uid.
Exit codes: COMMAND's own; 124 time limit; 125 the lab failed; 137 power cut; 130, 143 ended
by SIGINT, SIGTERM; 2 wrong usage.
`;

/** `help` or the options. Throws {@link LabError} on wrong usage. */
export function parseOptions(args: readonly string[], cwd: string): LabOptions | "help" {
  const split = args.indexOf("--");
  const own = split < 0 ? args : args.slice(0, split);
  const command = split < 0 ? [] : args.slice(split + 1);
  const { values, positionals } = parseOwn(own);
  if (values.help === true) return "help";
  if (positionals.length > 0)
    throw new LabError(
      `unexpected argument '${positionals[0]}'`,
      "write the command after --, as in: ./run lab -- COMMAND",
    );
  const kernel = values.host === true ? "host" : parseKernel(values.kernel ?? "uml");
  if (values.host === true && values.kernel !== undefined)
    throw new LabError("--host and --kernel exclude each other");
  const cutAfterMs = optionalInteger("--cut-after", values["cut-after"], 0);
  const cutOn = values["cut-on"];
  if (cutOn === "") throw new LabError("--cut-on needs a text that is not empty");
  const memoryMiB = optionalInteger("--memory", values.memory, 128);
  const uid = optionalInteger("--uid", values.uid, 0);
  const scratch = values.scratch === undefined ? undefined : resolve(cwd, values.scratch);
  return {
    kernel,
    command,
    timeoutSeconds: optionalInteger("--timeout", values.timeout, 1) ?? defaultTimeoutSeconds,
    ...(memoryMiB === undefined ? {} : { memoryMiB }),
    ...(scratch === undefined ? {} : { scratch }),
    disks: parseDisks(values.disk ?? [], cwd),
    ...(cutAfterMs === undefined ? {} : { cutAfterMs }),
    ...(cutOn === undefined ? {} : { cutOn }),
    ...(uid === undefined ? {} : { uid }),
    udev: values.udev === true,
    env: parseEnv(values.env ?? []),
    cwd,
    stdin: values.stdin === true,
    verbose: values.verbose === true,
  };
}

function parseOwn(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        kernel: { type: "string" },
        host: { type: "boolean" },
        timeout: { type: "string" },
        memory: { type: "string" },
        scratch: { type: "string" },
        disk: { type: "string", multiple: true },
        "cut-after": { type: "string" },
        "cut-on": { type: "string" },
        uid: { type: "string" },
        udev: { type: "boolean" },
        env: { type: "string", multiple: true },
        stdin: { type: "boolean" },
        verbose: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    throw new LabError(error instanceof Error ? error.message : String(error));
  }
}

function parseKernel(text: string): LabKernel {
  const kernel = labKernels.find((name) => name === text);
  if (kernel === undefined) throw new LabError(`unknown kernel '${text}'`, "use uml or qemu");
  return kernel;
}

function optionalInteger(
  option: string,
  text: string | undefined,
  least: number,
): number | undefined {
  if (text === undefined) return undefined;
  // 2^31-1: the longest timer of Node in ms, the largest uid setpriv takes without a sign.
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= 2 ** 31 - 1))
    throw new LabError(`${option} '${text}' is not a whole number from ${least} up`);
  return value;
}

function parseDisks(texts: readonly string[], cwd: string): LabDisk[] {
  if (texts.length > maxDisks) throw new LabError(`more than ${maxDisks} disks`);
  const disks = texts.map((text) => parseDisk(text, cwd));
  const names = new Set(disks.map((disk) => disk.name));
  if (names.size < disks.length) throw new LabError("two disks have the same name");
  const variables = new Set([...names].map(diskVariable));
  if (variables.size < names.size)
    throw new LabError("two disks have the same variable: - and _ are one in it");
  return disks;
}

function parseDisk(text: string, cwd: string): LabDisk {
  const match = /^([a-z0-9][a-z0-9_-]{0,19})=(.+?)(?::(\d+)([KMGT]))?$/.exec(text);
  const [, name, file, count, unit] = match ?? [];
  if (name === undefined || file === undefined)
    throw new LabError(
      `disk '${text}' is not NAME=FILE[:SIZE]`,
      "as in --disk data=/var/tmp/data.img:1G; NAME has lower-case letters, digits, - and _",
    );
  const path = resolve(cwd, file);
  if (count === undefined || unit === undefined) return { name, file: path };
  return { name, file: path, size: Number(count) * 1024 ** ("KMGT".indexOf(unit) + 1) };
}

function parseEnv(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const match = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/s.exec(text);
      if (match?.[1] === undefined || match[2] === undefined)
        throw new LabError(`environment '${text}' is not NAME=VALUE`);
      return [match[1], match[2]];
    }),
  );
}

/** The variable that names a disk's device node in the guest. */
export function diskVariable(name: string): string {
  return `LAB_DISK_${name.toUpperCase().replaceAll("-", "_")}`;
}
