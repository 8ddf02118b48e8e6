/**
 * As much gRPC as three calls of containerd need: unary, over HTTP/2 on a Unix socket, with strings and
 * maps of strings as arguments. Answers are looked at for their status only.
 */
import {
  connect as connectHttp2,
  type ClientHttp2Session,
  type IncomingHttpHeaders,
} from "node:http2";
import { connect as connectSocket } from "node:net";

/** Protobuf, wire type 2 (length-delimited). Lengths here stay below 2^14. */
function bytes(field: number, value: Buffer): Buffer {
  const length =
    value.length < 0x80
      ? Buffer.of(value.length)
      : Buffer.of((value.length & 0x7f) | 0x80, value.length >> 7);
  return Buffer.concat([Buffer.of((field << 3) | 2), length, value]);
}

export function stringField(field: number, value: string): Buffer {
  return bytes(field, Buffer.from(value, "utf8"));
}

/** map<string, string> of one entry. */
export function mapField(field: number, key: string, value: string): Buffer {
  return bytes(field, Buffer.concat([stringField(1, key), stringField(2, value)]));
}

export class GrpcClient implements Disposable {
  readonly #session: ClientHttp2Session;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(socketPath: string, headers: Readonly<Record<string, string>>) {
    this.#headers = headers;
    this.#session = connectHttp2("http://localhost", {
      createConnection: () => connectSocket(socketPath),
    });
  }

  /** Rejects with the server's message where the status is not 0 (OK). */
  call(path: string, ...fields: readonly Buffer[]): Promise<void> {
    const message = Buffer.concat(fields);
    // Five bytes before a message: not compressed, and its length.
    const frame = Buffer.alloc(5);
    frame.writeUInt32BE(message.length, 1);
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    const stream = this.#session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      ...this.#headers,
    });
    const settle = (headers: IncomingHttpHeaders): void => {
      const status = headers["grpc-status"];
      if (status === undefined) return;
      if (status === "0") resolve(undefined);
      else reject(new Error(`${path}: ${[headers["grpc-message"], status].flat().join(", ")}`));
    };
    stream.once("response", settle).once("trailers", settle).once("error", reject);
    stream.once("close", () => reject(new Error(`${path}: the stream ended without a status`)));
    stream.resume();
    stream.end(Buffer.concat([frame, message]));
    return promise;
  }

  [Symbol.dispose](): void {
    this.#session.destroy();
  }
}
