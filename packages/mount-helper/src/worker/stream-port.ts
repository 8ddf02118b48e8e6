/** A stream's end at one connection: what a flow may say there, under the number it has there. */
import type { StreamFrame, StreamWindow } from "@thinpool/protocol";

export interface StreamPort {
  /** That it can begin, or go on, here. */
  opened(at: { readonly offset: number; readonly window: number }): void;
  window(at: { readonly taken: number; readonly window: number }): void;
  send(frame: Omit<StreamFrame, "stream">): void;
  /** Nothing more is passed on, in either direction. */
  close(): void;
}

/** One stream, over all the connections that it had. */
export interface Flow {
  readonly direction: "to-daemon" | "to-client";
  /** From now on by this connection; what the one before has not brought is lost. */
  attach(port: StreamPort): void;
  /** The connection is gone. Its client may come again within the grace period. */
  detach(): void;
  receive(frame: StreamFrame): void;
  windowMoved(window: Pick<StreamWindow, "taken" | "window">): void;
  /** It ends with this error. */
  fail(error: Error): void;
}
