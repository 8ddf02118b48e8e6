#!/usr/bin/env node
/** The program thinpoold: foreground, one line of JSON per event on stderr. */
// oxlint-disable-next-line import/no-unassigned-import -- before the modules below fill the heap
import "./young-heap.ts";
import { readFile } from "node:fs/promises";
import { NativeError, PoolError, linuxKernel } from "@thinpool/thinpool";
import { USAGE, parseArguments } from "./arguments.ts";
import { startDaemon } from "./daemon.ts";
import { RequestError } from "./errors.ts";
import { errorText, stderrLogger } from "./log.ts";
import { choosePolicyFile } from "./policy/policy-file.ts";
import { inheritedSocket } from "./service/listen-fds.ts";
import { ServiceManager } from "./service/notify.ts";
import { StartError } from "./start-error.ts";

/** sysexits.h: the command line is wrong. */
const EXIT_USAGE = 64;
const EXIT_FAILURE = 1;
const STOP_SIGNALS = ["SIGTERM", "SIGINT"] as const;

/** The inherited umask, environment and working folder are not trusted. */
function shedInheritance(): void {
  process.umask(0o077);
  process.chdir("/");
}

async function main(argv: readonly string[]): Promise<void> {
  const parsed = parseArguments(argv);
  if (parsed === "help") {
    process.stdout.write(USAGE);
    return;
  }
  if (parsed === "version") {
    const manifest = await readFile(new URL("../package.json", import.meta.url), "utf8");
    process.stdout.write(`${(JSON.parse(manifest) as { version: string }).version}\n`);
    return;
  }
  const { folder, socketPath, socketGroup, metrics, sessionGraceMs, spareWorkers } = parsed;
  const { tcp, teardown } = parsed;
  const policyFile = await choosePolicyFile(parsed.policyFile);
  shedInheritance();
  const logger = stderrLogger();
  const manager = new ServiceManager(process.env, logger);
  const inherited = inheritedSocket(process.env, socketPath);
  await using kernel = linuxKernel();
  const daemon = await startDaemon({
    folder,
    socketPath,
    inheritedSocket: inherited,
    metrics,
    tcp,
    kernel,
    logger,
    ...(socketGroup === undefined ? {} : { socketGroup }),
    ...(policyFile === undefined ? {} : { policyFile }),
    ...(sessionGraceMs === undefined ? {} : { sessionGraceMs }),
    ...(spareWorkers === undefined ? {} : { spareWorkers }),
  });
  process.on("SIGHUP", () => {
    void daemon.reloadPolicy();
    void daemon.reloadCertificate();
  });
  await manager.ready();
  await untilSignal();
  await manager.stopping();
  await daemon.stop({ teardown });
  manager.stopped();
}

async function untilSignal(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  for (const signal of STOP_SIGNALS) process.once(signal, () => resolve(undefined));
  await promise;
}

/** A failure that says itself what to do needs no stack; any other is a mistake of ours. */
function report(error: unknown): void {
  const known =
    error instanceof StartError ||
    error instanceof PoolError ||
    error instanceof NativeError ||
    error instanceof RequestError;
  const code = known ? error.code : "INTERNAL";
  const message = error instanceof Error ? error.message : String(error);
  const stack = known ? undefined : errorText(error);
  stderrLogger().log("error", "failed", { code, message, error: stack });
  process.exitCode = code === "OPTION_INVALID" ? EXIT_USAGE : EXIT_FAILURE;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  report(error);
}
