/**
 * The streams of a front's clients. The back says which files a request's stream is about; a stream
 * outlives its connection by a grace period, and the client that asks again with the same idempotency
 * key has it again.
 */
import type { KnownRequest, RequestId } from "@thinpool/protocol";
import { RequestError } from "../errors.ts";
import { callSha256 } from "../idempotency/call-identity.ts";
import { errorText } from "../log.ts";
import type { ToBack, ToFront, TransferOutcome } from "../server/channel.ts";
import { MAX_OUTCOME_LENGTH } from "../server/channel.ts";
import type { Done, FlowTimes } from "./flow.ts";
import { FLOW_TIMES, streamError } from "./flow.ts";
import { Inflow } from "./inflow.ts";
import { Outflow } from "./outflow.ts";
import type { Flow, StreamPort } from "./stream-port.ts";

type TransferMessage = Extract<ToFront, { readonly type: "transfer" }>;

/** A request with a stream that waits for its answer. */
interface Asked {
  readonly connection: number;
  readonly id: RequestId;
  readonly key: string | undefined;
  readonly callSha256: string;
  readonly openPort: (flow: Flow) => StreamPort;
  flow?: Flow;
}

interface Running {
  readonly flow: Flow;
  readonly key: string | undefined;
  readonly callSha256: string;
}

export class Transfers {
  readonly #send: (message: ToBack) => void;
  readonly #times: FlowTimes;
  readonly #asked = new Set<Asked>();
  /** By the back's number. */
  readonly #running = new Map<number, Running>();

  constructor(send: (message: ToBack) => void, times: FlowTimes = FLOW_TIMES) {
    this.#send = send;
    this.#times = times;
  }

  /** A request has come. `openPort` gives a stream a number on its connection. */
  asked(request: KnownRequest, connection: number, openPort: (flow: Flow) => StreamPort): void {
    const { id, key } = request;
    const asked: Asked = { connection, id, key, callSha256: callSha256(request), openPort };
    this.#asked.add(asked);
    const running = Array.from(this.#running.values()).find((each) => isSame(each, asked));
    if (running !== undefined) attach(asked, running.flow);
  }

  answered(connection: number, id: RequestId): void {
    const asked = this.#find(connection, id);
    if (asked !== undefined) this.#asked.delete(asked);
  }

  cancelled(connection: number, id: RequestId): void {
    this.#find(connection, id)?.flow?.fail(streamError("CANCELLED", "its caller gave it up"));
  }

  closed(connection: number): void {
    for (const asked of this.#asked) {
      if (asked.connection !== connection) continue;
      this.#asked.delete(asked);
      const { flow } = asked;
      // Another connection may have it by now.
      const isTaken = Array.from(this.#asked).some((other) => other.flow === flow);
      if (flow === undefined || isTaken) continue;
      if (asked.key === undefined) flow.fail(withoutKey());
      else flow.detach();
    }
  }

  begin(message: TransferMessage): void {
    const { transfer, key, direction, connection, id } = message;
    const flow =
      direction === "to-daemon"
        ? new Inflow(message, this.#times)
        : new Outflow(message, this.#times);
    this.#running.set(transfer, { flow, key, callSha256: message.callSha256 });
    void this.#run(transfer, flow.run());
    const asked =
      this.#find(connection, id) ??
      Array.from(this.#asked).findLast((each) => isSame(each, message));
    if (asked !== undefined) attach(asked, flow);
    else if (key === undefined) flow.fail(withoutKey());
    else flow.detach();
  }

  withdraw(transfer: number): void {
    const error = { operation: "stream", object: "the stream", reason: "the daemon is stopping" };
    this.#running.get(transfer)?.flow.fail(new RequestError({ ...error, code: "UNAVAILABLE" }));
  }

  /** All are given up. */
  end(): void {
    for (const { flow } of this.#running.values()) {
      flow.fail(streamError("STREAM_LOST", "the process that served it ends"));
    }
  }

  /** Never rejects. */
  async #run(transfer: number, work: Promise<Done>): Promise<void> {
    const outcome = await work.catch(outcomeOf);
    this.#running.delete(transfer);
    this.#send({ type: "transferred", transfer, outcome });
  }

  #find(connection: number, id: RequestId): Asked | undefined {
    return Array.from(this.#asked).find((each) => each.connection === connection && each.id === id);
  }
}

function attach(asked: Asked, flow: Flow): void {
  asked.flow = flow;
  flow.attach(asked.openPort(flow));
}

/** The same change, asked for once more. */
function isSame(
  one: Pick<TransferMessage, "key" | "callSha256">,
  other: Pick<TransferMessage, "key" | "callSha256">,
): boolean {
  return one.key !== undefined && one.key === other.key && one.callSha256 === other.callSha256;
}

function withoutKey(): RequestError {
  const reason =
    "its connection was cut, and without an idempotency key it can't be taken up again";
  return streamError("STREAM_LOST", reason);
}

function outcomeOf(error: unknown): TransferOutcome {
  if (!(error instanceof RequestError)) {
    // Standard error is the log's.
    process.stderr.write(`${errorText(error)}\n`);
    const reason = "the daemon failed";
    return { ok: false, code: "INTERNAL", object: "the stream", reason };
  }
  const { code, object, reason, hint, errnoName } = error.description;
  const short = (text: string): string => text.slice(0, MAX_OUTCOME_LENGTH);
  return {
    ok: false,
    code,
    object: short(object),
    reason: short(reason),
    ...(hint === undefined ? {} : { hint: short(hint) }),
    ...(errnoName === undefined ? {} : { errnoName: short(errnoName) }),
  };
}
