/** The start of every connection: the daemon's hello, and the session taken up again. */
import type { DaemonMessage, Hello } from "@thinpool/protocol";
import { SUBPROTOCOL, encodeRequest, parseDaemonMessage } from "@thinpool/protocol";
import type { Connection } from "./connection.ts";
import type { ThinpoolError } from "./errors.ts";
import { clientError, errorFromRefusal, errorFromWire, hasCode } from "./errors.ts";
import { within } from "./wait.ts";

export interface Session {
  readonly id: string;
  readonly secret: string;
}

export interface Handshake {
  readonly hello: Hello;
  /** The session that the connection has now: the one to be resumed, or a new one. */
  readonly session: Session;
  /** False where there was one to be resumed and the daemon has it no more. */
  readonly resumed: boolean;
}

/** Requests count from 1: this id is nobody else's. */
const RESUME_ID = "resume";

/** Rejects with ThinpoolError: TIMEOUT, ABORTED, PROTOCOL, DAEMON_UNREACHABLE where it was cut. */
export async function shakeHands(
  connection: Connection,
  options: {
    readonly address: string;
    readonly resume: Session | undefined;
    readonly timeoutMs: number;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<Handshake> {
  const { address, resume } = options;
  const context = { operation: "connect", object: address };
  const inbox = new Inbox(connection, address);
  const first = await within(inbox.next(), options, context);
  if (first.type !== "notification" || first.notification.method !== "hello") {
    throw clientError("PROTOCOL", { ...context, reason: "the first message is no hello" });
  }
  const hello = first.notification.params;
  if (hello.protocol !== SUBPROTOCOL) {
    const reason = `it speaks ${JSON.stringify(hello.protocol)}, not ${SUBPROTOCOL}`;
    throw clientError("PROTOCOL", { ...context, reason });
  }
  if (resume === undefined) return { hello, session: hello.session, resumed: true };
  const { id, secret } = resume;
  connection.send(encodeRequest(RESUME_ID, "session.resume", { id, secret }));
  const answer = await within(inbox.next(), options, context);
  if (answer.type !== "response" || answer.response.id !== RESUME_ID) {
    throw clientError("PROTOCOL", { ...context, reason: "session.resume was not answered" });
  }
  if (!("error" in answer.response)) return { hello, session: resume, resumed: true };
  const error = errorFromWire(answer.response.error);
  if (!hasCode(error, "SESSION_GONE")) throw error;
  return { hello, session: hello.session, resumed: false };
}

/** The messages of a connection, one after another; the daemon sends none unasked after its hello. */
class Inbox {
  readonly #messages: DaemonMessage[] = [];
  #failure: ThinpoolError | undefined;
  #wake: (() => void) | undefined;

  constructor(connection: Connection, address: string) {
    connection.listen({
      message: (message) => {
        // No stream is open yet.
        const parsed = parseDaemonMessage(typeof message === "string" ? message : "");
        if (parsed.ok) this.#messages.push(parsed.value);
        else this.#failure = errorFromRefusal("connect", parsed);
        this.#wake?.();
      },
      ping: () => undefined,
      lost: (reason) => {
        this.#failure = clientError("DAEMON_UNREACHABLE", {
          operation: "connect",
          object: address,
          reason,
        });
        this.#wake?.();
      },
    });
  }

  async next(): Promise<DaemonMessage> {
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined) return message;
      if (this.#failure !== undefined) throw this.#failure;
      const { promise, resolve } = Promise.withResolvers<undefined>();
      this.#wake = () => resolve(undefined);
      await promise;
    }
  }
}
