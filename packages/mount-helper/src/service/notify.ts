/**
 * What the daemon tells systemd (sd_notify(3)): that it is ready, that it lives, that it stops. Without
 * NOTIFY_SOCKET in the environment it says nothing.
 */
import { sendDatagram } from "@thinpool/thinpool";
import type { Logger } from "../log.ts";
import { errorText } from "../log.ts";

/** The watchdog is fed this often within its time: one late message does no harm. */
const FEEDS_PER_TIMEOUT = 3;

export interface NotifyEnvironment {
  readonly NOTIFY_SOCKET?: string | undefined;
  readonly WATCHDOG_USEC?: string | undefined;
  readonly WATCHDOG_PID?: string | undefined;
}

export class ServiceManager {
  readonly #address: string | undefined;
  readonly #watchdogMs: number | undefined;
  readonly #logger: Logger;
  #timer: NodeJS.Timeout | undefined;

  /** Takes what it needs out of the environment, so that no child inherits it. */
  constructor(environment: NodeJS.ProcessEnv, logger: Logger) {
    const { NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID } = environment;
    for (const name of ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]) {
      Reflect.deleteProperty(environment, name);
    }
    this.#address = NOTIFY_SOCKET;
    this.#logger = logger;
    const isOurs = WATCHDOG_PID === undefined || Number(WATCHDOG_PID) === process.pid;
    const microseconds = Number(WATCHDOG_USEC ?? "0");
    this.#watchdogMs = isOurs && microseconds > 0 ? microseconds / 1000 : undefined;
  }

  /** Ready to serve; from now on the watchdog is fed by the event loop, while that goes round. */
  async ready(): Promise<void> {
    await this.#send(`READY=1\nMAINPID=${process.pid}`);
    if (this.#watchdogMs === undefined) return;
    const feed = (): void => void this.#send("WATCHDOG=1");
    this.#timer = setInterval(feed, this.#watchdogMs / FEEDS_PER_TIMEOUT);
    this.#timer.unref();
  }

  /** It drains; the watchdog is still fed until `stopped`. */
  async stopping(): Promise<void> {
    await this.#send("STOPPING=1");
  }

  stopped(): void {
    clearInterval(this.#timer);
  }

  /** Never rejects: whether systemd hears it is no reason to stop serving. */
  async #send(text: string): Promise<void> {
    if (this.#address === undefined) return;
    try {
      await sendDatagram(this.#address, text);
    } catch (error) {
      this.#logger.log("warn", "service-manager-not-told", { text, error: errorText(error) });
    }
  }
}
