/** A refusal in HTTP's words, for a client that can't have a connection. Nothing of its own is read. */
import type { Duplex } from "node:stream";

/** `status` as on HTTP's first line ("503 Service Unavailable"), `text` one sentence. */
export function refuseConnection(socket: Duplex, status: string, text: string): void {
  const lines = [`HTTP/1.1 ${status}`, "Connection: close", "Content-Type: text/plain"];
  lines.push(`Content-Length: ${Buffer.byteLength(text)}`, "", text);
  socket.on("error", () => {
    // The client is gone before it read why it was refused: nothing is left to tell it.
  });
  socket.end(lines.join("\r\n"), () => socket.destroy());
}
