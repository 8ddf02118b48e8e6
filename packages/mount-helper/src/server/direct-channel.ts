/** Front and back in one process, for tests: no isolation, the same messages. */
import type { Socket } from "node:net";
import type { FolderOwner } from "../mounts/folders.ts";
import { self } from "../mounts/folders.ts";
import { Front } from "../worker/front.ts";
import type { BackPort, FrontPort, ToFront } from "./channel.ts";

export function directChannel(back: BackPort): FrontPort {
  return new DirectChannel(back);
}

class DirectChannel implements FrontPort {
  readonly #front: Front;
  readonly #back: BackPort;
  #ended = false;

  constructor(back: BackPort) {
    this.#back = back;
    this.#front = new Front((message) => {
      if (!this.#ended) back.receive(message);
    });
  }

  get identity(): FolderOwner {
    return self();
  }

  adopt(connection: number, socket: Socket): void {
    this.#front.adopt(connection, socket);
  }

  send(message: ToFront): void {
    this.#front.receive(message);
  }

  rest(): void {
    // Nothing lies between the two that could pile up.
  }

  end(fault?: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#front.end();
    this.#back.lost(fault ?? "ended", fault === undefined);
  }
}
