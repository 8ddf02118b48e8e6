/** The gateway as a process of its own, without privileges: started, watched, and started again. */
import { closeSync } from "node:fs";
import type { Logger } from "../log.ts";
import { errorText } from "../log.ts";
import { RequestMeter } from "../server/request-meter.ts";
import { ConfinedProcess } from "../worker/confined-process.ts";
import { WORKER_FIRST_BACKOFF_MS, WORKER_MAX_BACKOFF_MS } from "../worker/limits.ts";
import type { Identity } from "../worker/privileges.ts";
import { programBeside, spawnWorker } from "../worker/worker-process.ts";
import type { Certificate } from "./certificate.ts";
import {
  GATEWAY_HEAP_MIB,
  GATEWAY_MAX_DESCRIPTORS,
  MAX_FRAME_FROM_GATEWAY_BYTES,
  OVERLOAD_REST_MS,
  QUESTIONS_PER_SECOND,
} from "./limits.ts";
import type { ToGateway } from "./messages.ts";
import { LISTEN_NUMBER, checkFromGateway } from "./messages.ts";
import type { RemoteAccess } from "./remote-access.ts";

/** The gateway, as the daemon uses it. */
export interface GatewayPort {
  /** For who connects from now on. */
  setCertificate(certificate: Certificate): void;
  stopAccepting(): void;
  /** Cuts all; resolves when nothing of it is left. */
  end(): Promise<void>;
}

export interface GatewayParts {
  readonly remote: Pick<RemoteAccess, "admit" | "note">;
  /** The listening socket's descriptor; the gateway closes it in the end. */
  readonly listening: number;
  readonly origins: readonly string[];
  readonly certificate: Certificate;
}

export interface GatewayProcessParts extends GatewayParts {
  readonly identity: Identity;
  readonly logger: Logger;
  /** What Node runs; default: the gateway. */
  readonly program?: readonly string[];
}

export function gatewayProgram(): readonly string[] {
  return programBeside(import.meta.url, "gateway-main");
}

const LIMITS = {
  descriptors: GATEWAY_MAX_DESCRIPTORS,
  heapMib: GATEWAY_HEAP_MIB,
  writesFiles: false,
} as const;

export class GatewayProcess implements GatewayPort {
  readonly #parts: GatewayProcessParts;
  readonly #meter = new RequestMeter();
  #certificate: Certificate;
  #process: ConfinedProcess | undefined;
  #exited: Promise<void> = Promise.resolve();
  #startedAt = 0;
  #backoffMs = 0;
  #next: NodeJS.Timeout | undefined;
  #state: "accepting" | "stopped" | "ended" = "accepting";

  constructor(parts: GatewayProcessParts) {
    this.#parts = parts;
    this.#certificate = parts.certificate;
    this.#start();
  }

  setCertificate(certificate: Certificate): void {
    this.#certificate = certificate;
    this.#sendTo(this.#process, { type: "certificate", ...certificate });
  }

  stopAccepting(): void {
    if (this.#state !== "accepting") return;
    this.#state = "stopped";
    clearTimeout(this.#next);
    this.#sendTo(this.#process, { type: "stop" });
    closeSync(this.#parts.listening);
  }

  async end(): Promise<void> {
    this.stopAccepting();
    this.#state = "ended";
    this.#process?.end();
    await this.#exited;
  }

  #start(): void {
    const { identity, logger, program = gatewayProgram() } = this.#parts;
    this.#startedAt = performance.now();
    const child = spawnWorker(program, LIMITS);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#exited = promise;
    child.once("exit", (code, signal) => {
      logger.log("info", "gateway-ended", { uid: identity.uid, pid: child.pid, code, signal });
      resolve();
    });
    child.once("error", () => resolve());
    const started = new ConfinedProcess({
      child,
      kind: "gateway",
      identity,
      maxFrameBytes: MAX_FRAME_FROM_GATEWAY_BYTES,
      logger,
      ready: () => {
        const { listening, origins } = this.#parts;
        if (this.#state !== "accepting") return;
        this.#sendTo(started, { type: "certificate", ...this.#certificate });
        if (started.give(listening, LISTEN_NUMBER)) {
          this.#sendTo(started, { type: "listen", origins });
        }
      },
      receive: (message) => void this.#receive(started, message),
      lost: (_reason, byDaemon) => {
        this.#process = undefined;
        if (!byDaemon) this.#startAgain();
      },
    });
    this.#process = started;
  }

  /** Whoever waits in the kernel's queue meanwhile is served by the next one. */
  #startAgain(): void {
    if (this.#state !== "accepting") return;
    const servedMs = performance.now() - this.#startedAt;
    const last = servedMs > WORKER_MAX_BACKOFF_MS ? 0 : this.#backoffMs;
    const doubled = last === 0 ? WORKER_FIRST_BACKOFF_MS : last * 2;
    this.#backoffMs = Math.min(doubled, WORKER_MAX_BACKOFF_MS);
    this.#next = setTimeout(() => {
      try {
        this.#start();
      } catch (error) {
        // The machine may have no room for a process just now.
        const fields = { waitMs: this.#backoffMs, error: errorText(error) };
        this.#parts.logger.log("error", "gateway-not-started", fields);
        this.#startAgain();
      }
    }, this.#backoffMs);
    this.#next.unref();
  }

  /** Never rejects. */
  async #receive(from: ConfinedProcess, message: unknown): Promise<void> {
    const checked = checkFromGateway(message);
    if (checked === undefined) {
      from.end("a message that is none");
      return;
    }
    const { remote, logger } = this.#parts;
    if (!this.#meter.take(QUESTIONS_PER_SECOND, performance.now())) from.rest(OVERLOAD_REST_MS);
    if (checked.type === "note") {
      remote.note(checked.reason, checked.address);
      return;
    }
    const { id, token, address } = checked;
    try {
      const cut = (): void => this.#sendTo(from, { type: "cut", id });
      const descriptor = await remote.admit(token, address, cut);
      if (descriptor === undefined) {
        this.#sendTo(from, { type: "refused", id });
        return;
      }
      const isTaken = from.state === "serving" && from.give(descriptor, id);
      closeSync(descriptor);
      if (isTaken) this.#sendTo(from, { type: "admitted", id });
    } catch (error) {
      logger.log("error", "tcp-failed", { error: errorText(error) });
      this.#sendTo(from, { type: "refused", id });
    }
  }

  #sendTo(to: ConfinedProcess | undefined, message: ToGateway): void {
    if (to?.state === "serving") to.send(message);
  }
}
