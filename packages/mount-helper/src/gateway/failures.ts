/** How often each address has shown a wrong token lately. */
import { isIPv6 } from "node:net";
import { RequestMeter } from "../server/request-meter.ts";
import {
  FAILED_TOKENS_BLOCK_MS,
  FAILED_TOKENS_PER_SECOND,
  MAX_FAILING_ADDRESSES,
} from "./limits.ts";

/** Of an IPv6 address, what a provider gives to one customer. */
const PREFIX_GROUPS = 4;
const GROUPS = 8;

/** As whom an address counts: itself, or, for IPv6, its /64. */
export function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [front = "", back] = address.split("::");
  const before = front === "" ? [] : front.split(":");
  const after = back === undefined || back === "" ? [] : back.split(":");
  const zeros = back === undefined ? 0 : GROUPS - before.length - after.length;
  const all = [...before, ...Array.from({ length: Math.max(0, zeros) }, () => "0"), ...after];
  return all.slice(0, PREFIX_GROUPS).join(":");
}

export class Failures {
  /** By network; the one that failed last is the last. */
  readonly #meters = new Map<string, { readonly meter: RequestMeter; blocked: number }>();

  /** Whether the daemon may be asked for this address at `nowMs`, which never goes back. */
  mayAsk(address: string, nowMs: number): boolean {
    const entry = this.#meters.get(networkOf(address));
    return entry === undefined || nowMs >= entry.blocked;
  }

  count(address: string, nowMs: number): void {
    const network = networkOf(address);
    const entry = this.#meters.get(network) ?? { meter: new RequestMeter(), blocked: 0 };
    if (!entry.meter.take(FAILED_TOKENS_PER_SECOND, nowMs))
      entry.blocked = nowMs + FAILED_TOKENS_BLOCK_MS;
    this.#meters.delete(network);
    this.#meters.set(network, entry);
    const [oldest] = this.#meters.keys();
    if (this.#meters.size > MAX_FAILING_ADDRESSES && oldest !== undefined) {
      this.#meters.delete(oldest);
    }
  }
}
