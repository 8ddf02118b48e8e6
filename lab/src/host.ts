import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { runProgram } from "./commands.ts";
import { prepareDisk } from "./disks.ts";
import { Guard } from "./guard.ts";
import { asUid, controlFiles, quote } from "./guest-script.ts";
import { hostThin } from "./host-thin.ts";
import { LabError } from "./lab-error.ts";
import type { Machine } from "./machine.ts";
import { diskVariable, type LabOptions } from "./options.ts";
import { commandPath } from "./places.ts";
import { makeRunFolders, type RunFolders } from "./run-folders.ts";
import { follow, type LabResult, type LabStreams } from "./run.ts";

/**
 * Runs the command on this machine itself: nothing is hidden or read-only, and the disks are loop
 * devices. What needs a kernel of its own (power cut, memory, a udevd) is refused.
 */
export async function runHost(
  options: LabOptions,
  streams: LabStreams,
  abort: AbortSignal,
): Promise<LabResult> {
  refuse(options);
  const thin = hostThin();
  if (!thin.usable)
    throw new LabError(`this machine can't run thin pools itself: ${thin.why}`, thin.mend);
  for (const disk of options.disks) prepareDisk(disk);
  const folders = makeRunFolders(0);
  const guard = new Guard([folders.folder, folders.memory]);
  const loops: string[] = [];
  try {
    for (const disk of options.disks) {
      const said = runProgram("losetup", ["--find", "--show", disk.file]).toString("utf8");
      const loop = said.trimEnd();
      guard.watchLoop(loop);
      loops.push(loop);
    }
    const script = writeScript(options, streams, folders, loops);
    if (streams.terminal !== undefined) return await runShell(script);
    const machine = start(script, options.cwd);
    if (machine.process.pid !== undefined) guard.watch(machine.process.pid);
    return await follow(machine, options, streams, abort, folders.control);
  } finally {
    await guard.end();
  }
}

function refuse(options: LabOptions): void {
  const asked = [
    ["--cut-after", options.cutAfterMs],
    ["--cut-on", options.cutOn],
    ["--memory", options.memoryMiB],
    ["--udev", options.udev ? true : undefined],
  ].find(([, value]) => value !== undefined);
  if (asked !== undefined)
    throw new LabError(`${String(asked[0])} needs a guest`, "use --kernel uml or --kernel qemu");
}

/** The command, and its exit code where the guests leave theirs. */
function writeScript(
  options: LabOptions,
  streams: LabStreams,
  folders: RunFolders,
  loops: readonly string[],
): string {
  const programs = join(folders.folder, "bin");
  const homes = join(folders.folder, "homes");
  // Other uids must reach as-uid and their homes in it.
  chmodSync(folders.folder, 0o711);
  for (const folder of [programs, homes]) mkdirSync(folder, { mode: 0o755 });
  writeFileSync(join(programs, "as-uid"), asUid(homes), { mode: 0o755 });
  const stdin = join(folders.control, controlFiles.stdin);
  if (streams.stdin !== undefined) writeFileSync(stdin, streams.stdin);
  const env: Record<string, string> = {
    PATH: commandPath(programs),
    HOME: "/root",
    ...(existsSync("/run/udev/control") ? {} : { DM_DISABLE_UDEV: "1" }),
    ...Object.fromEntries(
      options.disks.map(({ name }, index) => [diskVariable(name), loops[index] ?? ""]),
    ),
    ...(options.scratch === undefined ? {} : { LAB_SCRATCH: options.scratch }),
    ...options.env,
    LAB_KERNEL: "host",
  };
  const words = [
    "env",
    "-i",
    ...Object.entries(env).map(([name, value]) => `${name}=${value}`),
    ...(options.uid === undefined ? [] : [join(programs, "as-uid"), String(options.uid)]),
    ...(options.command.length === 0 ? ["bash"] : options.command),
  ];
  const input =
    streams.terminal === undefined
      ? ` < ${streams.stdin === undefined ? "/dev/null" : quote(stdin)}`
      : "";
  const script = join(folders.control, controlFiles.init);
  const control = quote(folders.control);
  writeFileSync(
    script,
    `: > ${control}/${controlFiles.started}
${words.map(quote).join(" ")}${input}
code=$?
echo $code > ${control}/${controlFiles.exitCode}
exit $code
`,
  );
  return script;
}

function start(script: string, cwd: string): Machine {
  const child = spawn("bash", [script], {
    cwd,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  return {
    process: child,
    console: [],
    stdout: child.stdout,
    stderr: child.stderr,
    terminal: new PassThrough(),
  };
}

/** A shell on the caller's own terminal, in the caller's session: Ctrl-C is the shell's. */
async function runShell(script: string): Promise<LabResult> {
  const begin = performance.now();
  const child = spawn("bash", [script], { stdio: "inherit" });
  const [code] = (await once(child, "exit")) as [number | null];
  return {
    exitCode: code ?? 1,
    end: "exit",
    durationMs: performance.now() - begin,
    console: "",
  };
}
