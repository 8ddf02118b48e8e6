/** thinpoold as a function: the pool, the records of its mounts, and the socket, put together. */
import { closeSync } from "node:fs";
import { join } from "node:path";
import type { Kernel, ListeningSocket, ThinPool } from "@thinpool/thinpool";
import { DAEMON_FILES, PoolError, listenTcp, openPool } from "@thinpool/thinpool";
import { groupIdOf } from "./accounts.ts";
import { Access } from "./policy/access.ts";
import { LivePolicy } from "./policy/live-policy.ts";
import { RightsBook } from "./policy/rights-book.ts";
import { RightsStore } from "./policy/rights-store.ts";
import { DEFAULT_SOCKET_GROUP } from "./server/socket.ts";
import { Dispatcher } from "./dispatch.ts";
import { readCertificate } from "./gateway/certificate.ts";
import type { GatewayParts, GatewayPort } from "./gateway/gateway-process.ts";
import { GatewayProcess } from "./gateway/gateway-process.ts";
import { LISTEN_BACKLOG } from "./gateway/limits.ts";
import { RemoteAccess } from "./gateway/remote-access.ts";
import type { TcpOptions } from "./gateway/tcp-options.ts";
import { makeHandlers } from "./handlers/index.ts";
import { KeyStore } from "./idempotency/key-store.ts";
import { KeyedCalls } from "./idempotency/keyed-calls.ts";
import { recognitionRules } from "./idempotency/rules.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import type { Logger } from "./log.ts";
import { errorText, stderrLogger } from "./log.ts";
import type { RulesFor } from "./mounts/rules.ts";
import { mountRulesBy } from "./policy/mount-rules.ts";
import { Metrics } from "./metrics/metrics.ts";
import type { MetricsAddress } from "./metrics/metrics-server.ts";
import { MetricsServer } from "./metrics/metrics-server.ts";
import type { References } from "./references/open.ts";
import { openReferences } from "./references/open.ts";
import type { ConnectionWatch, OpenFront } from "./server/back.ts";
import { Back } from "./server/back.ts";
import { helloTo } from "./server/hello.ts";
import type { Identify } from "./server/listener.ts";
import { Listener, identifyByKernel, pinByKernel } from "./server/listener.ts";
import { StartError } from "./start-error.ts";
import type { Identity } from "./worker/privileges.ts";
import { GATEWAY, ROOT_WORKER, reservedIdentity } from "./worker/reserved-identity.ts";
import { MAX_SPARE_WORKERS } from "./worker/limits.ts";
import { WorkerPool } from "./worker/worker-pool.ts";

export const DEFAULT_BLOCK_ROOT = "/dev/thinpool";
export const DEFAULT_MOUNT_ROOT = "/run/thinpool/mounts";
const DEFAULT_SPARE_WORKERS = 1;
/** How long a stop waits for running operations; after it they go on without anybody to answer to. */
export const DRAIN_TIMEOUT_MS = 30_000;

export interface DaemonOptions {
  /** The pool's folder; the pool must exist. */
  readonly folder: string;
  readonly socketPath: string;
  readonly kernel: Kernel;
  /** Who may connect besides root; default: the group "thinpool", if the machine has it. */
  readonly socketGroup?: string;
  /**
   * Who parses clients' bytes: worker processes without privileges (default; takes root), or this very
   * process, for tests that have nothing to protect.
   */
  readonly workers?: "processes" | "in-process";
  /**
   * Processes that wait, started ahead, for users who have no worker yet: without one a user's first
   * connection waits for Node to start. From 0 to 8; default: one.
   */
  readonly spareWorkers?: number;
  /** Who may do what (docs/POLICY.md); default: who may connect clones public images. */
  readonly policyFile?: string;
  /** A socket that the service manager has opened at `socketPath`, by its descriptor. */
  readonly inheritedSocket?: number | undefined;
  /** Who may come over TCP, with TLS and a token, and where; default: nobody. */
  readonly tcp?: TcpOptions | undefined;
  /** Where to serve Prometheus metrics; default: nowhere. */
  readonly metrics?: MetricsAddress | undefined;
  /** Default: /run/thinpool/mounts. */
  readonly mountRoot?: string;
  /** Where users' block devices are; below /dev, or what is there is none. Default: /dev/thinpool. */
  readonly blockRoot?: string;
  /** What users' mounts may be; default: what the policy says. */
  readonly mountRulesFor?: RulesFor;
  /** How long a session outlives its connection; default: half a minute. */
  readonly sessionGraceMs?: number;
  /** Default: one line of JSON per event on stderr. */
  readonly logger?: Logger;
}

export interface Daemon extends AsyncDisposable {
  readonly socketPath: string;
  /** Where it listens for network clients; undefined: nowhere. */
  readonly tcpPort: number | undefined;
  /** Reads the policy file anew. Where it is refused, the log says why and nothing changes. */
  reloadPolicy(): Promise<void>;
  /** The same with the certificate and its key, for who connects from now on. */
  reloadCertificate(): Promise<void>;
  /**
   * Stops accepting, ends what runs, and lets the pool go. Mounts stay for the next start, unless
   * `teardown`: then all references are given up and the pool is taken down (BUSY, and nothing more
   * is taken down, where a process works in a mount).
   */
  stop(options?: { readonly teardown?: boolean }): Promise<void>;
}

/** Rejects with PoolError (the pool can't be opened) or StartError (the socket). */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  return startDaemonWith(options, identifyByKernel);
}

/** As `startDaemon`; only tests identify a peer by anything but the kernel. */
export async function startDaemonWith(options: DaemonOptions, identify: Identify): Promise<Daemon> {
  const { folder, kernel, socketPath, socketGroup } = options;
  const logger = options.logger ?? stderrLogger();
  await using undo = new AsyncDisposableStack();
  const pool = await openPool({ folder, kernel });
  undo.defer(() => letGo(pool));
  const socketGid = await groupIdOf(socketGroup ?? DEFAULT_SOCKET_GROUP);
  const live = await LivePolicy.load(options.policyFile, socketGid, logger);
  const queue = new KeyedQueue();
  const rulesFor = options.mountRulesFor ?? mountRulesBy(live);
  const book = new RightsBook(undo.use(new RightsStore(join(folder, DAEMON_FILES.rights))));
  const references = await openReferences({
    pool,
    kernel,
    mountRoot: options.mountRoot ?? DEFAULT_MOUNT_ROOT,
    blockRoot: options.blockRoot ?? DEFAULT_BLOCK_ROOT,
    queue,
    rulesFor,
    logger,
    onGone: (deviceUuid) => book.forgetDevice(deviceUuid),
    graceMs: options.sessionGraceMs,
  });
  undo.defer(() => references.close());
  const { mounts, sessions, ephemerals, reaper } = references;
  const referenceHolder = (id: string): number | undefined => mounts.holderOf(id);
  const access = new Access({ pool, live, book, referenceHolder });
  const stopping = new AbortController();
  const work = {
    pool,
    mounts,
    sessions,
    ephemerals,
    access,
    book,
    rulesFor,
    inTurn: <T>(device: string, operation: string, task: () => Promise<T>, uid?: number) =>
      queue.run(device, operation, task, uid),
    connectTokenEnded: () => remote.endStale(),
    stopping: stopping.signal,
  };
  const keys = undo.use(new KeyStore(join(folder, DAEMON_FILES.keys)));
  const keyed = new KeyedCalls({
    poolUuid: pool.uuid,
    store: keys,
    recognise: recognitionRules(work),
    logger,
  });
  keyed.recover();
  const metrics = new Metrics({
    pool,
    census: () => mounts.census(),
    sessions: () => sessions.counts,
    workers: () => back.workerCount,
    logger,
  });
  const dispatcher = new Dispatcher({
    handlers: makeHandlers(work),
    keyed,
    access,
    deviceOfReference: (id) => mounts.deviceOf(id),
    queue,
    logger,
    observe: (call) => metrics.observe(call),
  });
  const gatewayIdentity = await gatewayIdentityFor(options);
  const spares = options.spareWorkers ?? DEFAULT_SPARE_WORKERS;
  const workers =
    options.workers === "in-process"
      ? undefined
      : await workerPool(spares, gatewayIdentity, logger);
  const openFront: OpenFront =
    workers === undefined ? await frontsHere() : (principal, port) => workers.open(principal, port);
  const watch: ConnectionWatch = {
    opened: ({ uid }, connection) => {
      back.push(connection, helloTo(sessions.open(uid, connection)));
    },
    closed: (connection) => {
      sessions.closed(connection);
      reaper.schedule();
    },
  };
  const back = new Back({
    dispatcher,
    watch,
    openFront,
    limitsOf: (principal) => access.limits(principal),
    logger,
  });
  undo.defer(async () => {
    await back.close();
    await workers?.close();
  });
  const remote = new RemoteAccess({
    book,
    access,
    back,
    logger,
    frontsAreHere: workers === undefined,
  });
  undo.defer(() => remote.close());
  const { inheritedSocket, tcp } = options;
  const certificate = tcp === undefined ? undefined : await readCertificate(tcp);
  const listening = tcp === undefined ? undefined : listenOn(tcp);
  undo.defer(() => {
    if (listening !== undefined) closeSync(listening.descriptor);
  });
  const metricsServer =
    options.metrics === undefined
      ? undefined
      : await MetricsServer.listen(options.metrics, metrics, logger);
  undo.defer(() => metricsServer?.close());
  const listener = await Listener.listen({
    socketPath,
    socketGroup,
    inheritedSocket,
    back,
    logger,
    identify,
    pin: (socket, principal) =>
      rulesFor(principal).otherNamespaces ? pinByKernel(socket, principal) : undefined,
  });
  undo.defer(() => listener.release());
  const tcpPort = listening?.port;
  let gateway: GatewayPort | undefined;
  if (tcp !== undefined && listening !== undefined && certificate !== undefined) {
    const { origins } = tcp;
    const parts = { remote, listening: listening.descriptor, origins, certificate };
    gateway =
      gatewayIdentity === undefined
        ? await gatewayHere(parts)
        : new GatewayProcess({ ...parts, identity: gatewayIdentity, logger });
  }
  undo.move();
  reaper.start();
  logger.log("info", "started", { pid: process.pid, pool: pool.uuid, socketPath, tcpPort });
  return new RunningDaemon({
    socketPath,
    pool,
    references,
    keys,
    live,
    book,
    stopping,
    dispatcher,
    back,
    listener,
    workers,
    remote,
    gateway,
    tcp,
    tcpPort,
    metricsServer,
    logger,
  });
}

/** Only where it is wanted: a daemon with workers holds none of the code that parses strangers' bytes. */
async function frontsHere(): Promise<OpenFront> {
  const { directChannel } = await import("./server/direct-channel.ts");
  return (_principal, port) => directChannel(port);
}

/** The same. */
async function gatewayHere(parts: GatewayParts): Promise<GatewayPort> {
  const { DirectGateway } = await import("./gateway/direct-gateway.ts");
  return new DirectGateway(parts);
}

/** As whom the gateway runs; undefined: there is none, or it is in this process. */
async function gatewayIdentityFor({ workers, tcp }: DaemonOptions): Promise<Identity | undefined> {
  return tcp === undefined || workers === "in-process" ? undefined : reservedIdentity(GATEWAY);
}

/** Bound by root, served by the gateway. Throws StartError. */
function listenOn({ address: { host, port } }: TcpOptions): ListeningSocket {
  try {
    return listenTcp(host, port, LISTEN_BACKLOG);
  } catch (error) {
    throw new StartError({
      code: "SOCKET_IN_USE",
      object: `${host}:${port}`,
      reason: error instanceof Error ? error.message : String(error),
      hint: "Name an address of this machine, and a port that nobody has, with --tcp.",
      cause: error,
    });
  }
}

async function workerPool(
  spares: number,
  gateway: Identity | undefined,
  logger: Logger,
): Promise<WorkerPool> {
  if (!Number.isInteger(spares) || spares < 0 || spares > MAX_SPARE_WORKERS) {
    throw new StartError({
      code: "OPTION_INVALID",
      object: "spareWorkers",
      reason: `${spares} is no number from 0 to ${MAX_SPARE_WORKERS}`,
      hint: "One is enough unless many users connect for the first time at once.",
    });
  }
  if (process.geteuid?.() === 0) {
    const rootIdentity = await reservedIdentity(ROOT_WORKER);
    const reservedUids = gateway === undefined ? [] : [gateway.uid];
    return new WorkerPool({ rootIdentity, reservedUids, logger, spares });
  }
  throw new StartError({
    code: "OPTION_INVALID",
    object: "the workers",
    reason: "only root can start processes of other users",
    hint: "Run it as root.",
  });
}

/** A start that failed: as it was, the pool down, unless an earlier daemon's mounts need it. */
async function letGo(pool: ThinPool): Promise<void> {
  try {
    await pool.close();
  } catch (error) {
    if (!(error instanceof PoolError) || error.code !== "DEVICE_BUSY") throw error;
    await pool.detach();
  }
}

interface Parts {
  readonly socketPath: string;
  readonly pool: ThinPool;
  readonly references: References;
  readonly keys: KeyStore;
  readonly live: LivePolicy;
  readonly book: RightsBook;
  readonly stopping: AbortController;
  readonly dispatcher: Dispatcher;
  readonly back: Back;
  readonly listener: Listener;
  readonly workers: WorkerPool | undefined;
  readonly remote: RemoteAccess;
  readonly gateway: GatewayPort | undefined;
  readonly tcp: TcpOptions | undefined;
  readonly tcpPort: number | undefined;
  readonly metricsServer: MetricsServer | undefined;
  readonly logger: Logger;
}

class RunningDaemon implements Daemon {
  readonly socketPath: string;
  readonly #parts: Parts;
  #stopped: Promise<void> | undefined;
  #reloading: Promise<void> = Promise.resolve();

  constructor(parts: Parts) {
    this.socketPath = parts.socketPath;
    this.#parts = parts;
  }

  get tcpPort(): number | undefined {
    return this.#parts.tcpPort;
  }

  reloadPolicy(): Promise<void> {
    return this.#parts.live.reload();
  }

  reloadCertificate(): Promise<void> {
    // One after another: a reading that began earlier must not end later, with an older pair.
    this.#reloading = this.#reloading.then(() => this.#readCertificate());
    return this.#reloading;
  }

  async #readCertificate(): Promise<void> {
    const { tcp, gateway, logger } = this.#parts;
    if (tcp === undefined || gateway === undefined) return;
    try {
      gateway.setCertificate(await readCertificate(tcp));
      logger.log("info", "certificate-read", { path: tcp.certificateFile });
    } catch (error) {
      const reason = error instanceof StartError ? error.message : errorText(error);
      logger.log("error", "certificate-refused", { path: tcp.certificateFile, reason });
    }
  }

  stop(options: { readonly teardown?: boolean } = {}): Promise<void> {
    this.#stopped ??= this.#stop(options.teardown ?? false);
    return this.#stopped;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #stop(teardown: boolean): Promise<void> {
    const { pool, references, keys, book, dispatcher, back, listener } = this.#parts;
    const { workers, remote, gateway, metricsServer, logger } = this.#parts;
    listener.stopAccepting();
    gateway?.stopAccepting();
    this.#parts.stopping.abort();
    if (!(await endsWithin(dispatcher.drain(), DRAIN_TIMEOUT_MS))) {
      logger.log("warn", "drain-timed-out", { ms: DRAIN_TIMEOUT_MS });
    }
    await metricsServer?.close();
    await references.reaper.stop();
    await back.close();
    await gateway?.end();
    remote.close();
    await workers?.close();
    listener.release();
    try {
      if (teardown) {
        await references.mounts.releaseAll();
        await pool.close();
      } else {
        await pool.detach();
      }
    } catch (error) {
      if (teardown) await pool.detach();
      throw error;
    } finally {
      await references.close();
      await keys.settled();
      keys.close();
      book.close();
      logger.log("info", "stopped", { pid: process.pid, teardown });
    }
  }
}

async function endsWithin(work: Promise<void>, timeoutMs: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<false>();
  const timer = setTimeout(() => resolve(false), timeoutMs);
  try {
    return await Promise.race([work.then(() => true), promise]);
  } finally {
    clearTimeout(timer);
  }
}
