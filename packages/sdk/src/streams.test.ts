import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { once } from "node:events";
import { test } from "node:test";
import { parseStreamFrame } from "@thinpool/protocol";
import { Upload } from "./streams.ts";

const WINDOW = String(1 << 20);
const at = (offset: number) =>
  ({ id: 1, stream: 1, direction: "to-daemon", offset: String(offset), window: WINDOW }) as const;

/** One turn of the event loop: what can be read of a source in memory has been. */
async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

/** The other end: what comes, put together. */
class Taker {
  readonly parts: Uint8Array[] = [];
  ended = false;
  readonly send = (data: string | Uint8Array): void => {
    assert.ok(typeof data !== "string");
    const frame = parseStreamFrame(data);
    assert.ok(frame.ok);
    if (frame.value.kind === "end") this.ended = true;
    else this.parts.push(frame.value.payload);
  };
  get text(): string {
    return Buffer.concat(this.parts).toString();
  }
}

test("a source may use its buffer again: what a cut took is sent again as it was", async () => {
  for (const buffer of [Buffer.alloc(4), new Uint8Array(4)]) {
    const source = async function* (): AsyncGenerator<Uint8Array> {
      for (const text of ["aaaa", "bbbb", "cccc"]) {
        buffer.set(Buffer.from(text));
        yield buffer;
        await Promise.resolve();
      }
    };
    const upload = new Upload(source(), () => undefined);
    const first = new Taker();
    upload.opened(at(0), first.send);
    await turn();
    assert.equal(first.text, "aaaabbbbcccc");
    upload.cut();
    const second = new Taker();
    upload.opened(at(0), second.send);
    await turn();
    assert.deepEqual([second.text, second.ended], ["aaaabbbbcccc", true]);
  }
});

test("who is told of the progress and throws ends the stream by that", async () => {
  const source = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from("aaaa");
    await new Promise(() => undefined);
  };
  const upload = new Upload(source(), () => {
    throw new Error("of the listener");
  });
  upload.opened(at(0), new Taker().send);
  await turn();
  upload.windowMoved({ taken: 4, window: 8 });
  assert.match(String(upload.failed.reason), /of the listener/);
});

test("what is no bytes is named as that", async () => {
  const source = async function* (): AsyncGenerator<Uint8Array> {
    await Promise.resolve();
    yield "text" as unknown as Uint8Array;
  };
  const upload = new Upload(source(), () => undefined);
  upload.opened(at(0), new Taker().send);
  await turn();
  const { code, message } = upload.failed.reason as { code: string; message: string };
  assert.deepEqual([code, /but a string/.test(message)], ["ARGUMENT_INVALID", true], message);
  for (const none of [[new Uint8Array(1)], undefined]) {
    const make = () => new Upload(none as unknown as AsyncIterable<Uint8Array>, () => undefined);
    assert.throws(make, { code: "ARGUMENT_INVALID" });
  }
});

test("a file of which nothing was read is closed all the same", async () => {
  const file = createReadStream(import.meta.filename);
  await once(file, "open");
  // Refused before the stream began: the name is taken, say.
  new Upload(file, () => undefined).close();
  await turn();
  const { destroyed } = file;
  file.destroy();
  assert.ok(destroyed);
});
