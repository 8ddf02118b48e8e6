/** `top` on a terminal: looks, draws, listens to keys, and gives the screen back however it ends. */
import { emitKeypressEvents } from "node:readline";
import type { Client } from "@thinpool/sdk";
import { readIoCounts } from "./io.ts";
import { pressed } from "./keys.ts";
import { highlight, renderTop, type Sample, type View } from "./screen.ts";

/** xterm's control sequences: the alternate screen, the cursor, home and clear. */
const ENTER = "\u001B[?1049h\u001B[?25l";
const LEAVE = "\u001B[?25h\u001B[?1049l";
const HOME = "\u001B[H\u001B[2J";

async function look(client: Client): Promise<Sample> {
  const [status, devices, mounts, io] = await Promise.all([
    client.status(),
    client.list(),
    client.mounts(),
    readIoCounts(),
  ]);
  return { atMs: Date.now(), status, devices, mounts, io };
}

/** Ends at `q`, Ctrl-C or a failure, which goes up once the screen is given back. */
export async function runTop(options: {
  readonly client: Client;
  readonly intervalMs: number;
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
}): Promise<void> {
  const { client, intervalMs, stdin, stdout } = options;
  let view: View = { sort: "io", filter: "", typing: false };
  let earlier: Sample | undefined;
  let now = await look(client);
  const { promise: ended, resolve: end, reject: fail } = Promise.withResolvers<undefined>();
  const draw = (): void => {
    const { rows, columns } = stdout;
    stdout.write(HOME + highlight(renderTop({ now, earlier, view, rows, columns }), stdout));
  };
  const onKey = (text: string | undefined, key: { name?: string; ctrl?: boolean }): void => {
    const next = pressed(view, { text, name: key.name, ctrl: key.ctrl ?? false });
    if (next === "quit") return end(undefined);
    view = next;
    return draw();
  };
  let timer: NodeJS.Timeout | undefined;
  const again = async (): Promise<void> => {
    try {
      const sample = await look(client);
      earlier = now;
      now = sample;
      draw();
      timer = setTimeout(() => void again(), intervalMs);
    } catch (error) {
      fail(error);
    }
  };
  emitKeypressEvents(stdin);
  stdin.setRawMode(true);
  stdin.on("keypress", onKey);
  stdout.on("resize", draw);
  stdout.write(ENTER);
  try {
    draw();
    timer = setTimeout(() => void again(), intervalMs);
    await ended;
  } finally {
    clearTimeout(timer);
    stdin.off("keypress", onKey);
    stdout.off("resize", draw);
    stdin.setRawMode(false);
    stdin.pause();
    stdout.write(LEAVE);
  }
}
