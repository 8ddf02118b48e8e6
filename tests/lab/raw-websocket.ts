/** A WebSocket client by hand, for what a decent one would never send. */
import { once } from "node:events";
import type { Socket } from "node:net";
import { createConnection } from "node:net";
import { SUBPROTOCOL } from "@thinpool/protocol";

const OPCODE_TEXT = 1;
const OPCODE_CLOSE = 8;
const OPCODE_PING = 9;
const OPCODE_PONG = 10;
const FIN = 0x80;
const MASKED = 0x80;
/** A mask of zeros leaves the payload as it is. */
const MASK_BYTES = 4;

export const HANDSHAKE: string = [
  "GET / HTTP/1.1",
  "Host: localhost",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
  `Sec-WebSocket-Protocol: ${SUBPROTOCOL}`,
  "",
  "",
].join("\r\n");

/** The head of a text frame that says that it is so long. */
export function frameHead(lengthBytes: number): Buffer {
  const head = Buffer.alloc(2 + 8 + MASK_BYTES);
  head[0] = FIN | OPCODE_TEXT;
  head[1] = MASKED | 127;
  head.writeBigUInt64BE(BigInt(lengthBytes), 2);
  return head;
}

export function textFrame(text: string): Buffer {
  const payload = Buffer.from(text);
  return Buffer.concat([frameHead(payload.length), payload]);
}

/** Connected and upgraded. Rejects where the daemon answers anything else. */
export async function openRaw(socketPath: string): Promise<Socket> {
  const socket = createConnection(socketPath);
  socket.write(HANDSHAKE);
  const [data] = (await once(socket, "data")) as [Buffer];
  if (!data.toString("latin1").startsWith("HTTP/1.1 101 ")) throw new Error(data.toString());
  socket.on("error", () => {
    // EPIPE, ECONNRESET: the daemon has cut it; "close" follows.
  });
  return socket;
}

/** The daemon's pings are empty. */
const PONG: Buffer = Buffer.from([FIN | OPCODE_PONG, MASKED, 0, 0, 0, 0]);

/** Answers pings. Reads the daemon's frames (not masked); gives each text, and the code of a close. */
export class RawReader {
  #rest: Buffer = Buffer.alloc(0);
  readonly #socket: Socket;
  readonly #onText: (text: string) => void;
  closeCode: number | undefined;

  constructor(socket: Socket, onText: (text: string) => void) {
    this.#socket = socket;
    this.#onText = onText;
    socket.on("data", (chunk: Buffer) => this.#push(chunk));
  }

  #push(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    for (;;) {
      const frame = frameAt(bytes, at);
      if (frame === undefined) break;
      if (frame.opcode === OPCODE_TEXT) this.#onText(frame.payload.toString("utf8"));
      if (frame.opcode === OPCODE_PING) this.#socket.write(PONG);
      if (frame.opcode === OPCODE_CLOSE) this.closeCode = frame.payload.readUInt16BE(0);
      at = frame.end;
    }
    this.#rest = bytes.subarray(at);
  }
}

function frameAt(
  bytes: Buffer,
  at: number,
): { readonly opcode: number; readonly payload: Buffer; readonly end: number } | undefined {
  if (bytes.length < at + 2) return undefined;
  const opcode = (bytes[at] ?? 0) & 0x0f;
  const short = (bytes[at + 1] ?? 0) & 0x7f;
  const extra = short === 126 ? 2 : short === 127 ? 8 : 0;
  const begin = at + 2 + extra;
  if (bytes.length < begin) return undefined;
  const length =
    extra === 2
      ? bytes.readUInt16BE(at + 2)
      : extra === 8
        ? Number(bytes.readBigUInt64BE(at + 2))
        : short;
  const end = begin + length;
  return bytes.length < end ? undefined : { opcode, payload: bytes.subarray(begin, end), end };
}
