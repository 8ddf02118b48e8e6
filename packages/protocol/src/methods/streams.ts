/** device.import, device.export: a device's files as a byte stream, without a mount. */
import * as v from "valibot";
import { device } from "./device.ts";
import type { Methods } from "./method.ts";
import { count, deviceName, label, labelsTo, u64 } from "./scalars.ts";

export const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));

export const streamMethods = {
  "device.import": {
    changes: true,
    summary:
      "Makes a device, empty or a copy of `origin`, and unpacks a tar stream of the client's into it.",
    params: v.object({
      name: deviceName,
      /** Of an empty one, as of `device.create`; not with `origin`. */
      sizeBytes: v.optional(u64),
      filesystem: v.optional(v.picklist(["ext4", "xfs"])),
      /** The device is a copy of this one, and the files come on top of what is there. */
      origin: v.optional(deviceName),
      labels: v.optional(labelsTo(label)),
      /** How long the stream will be, where that is known beforehand. */
      streamBytes: v.optional(u64),
      /** What the stream's SHA-256 must be, in hexadecimal. */
      sha256: v.optional(sha256),
    }),
    result: v.object({
      device,
      /** What came; missing where the daemon was cut down between making it durable and saying so. */
      content: v.optional(
        v.object({
          /** Of the archive. */
          entries: count,
          /** Of the stream, padding included. */
          streamBytes: u64,
          sha256,
          /** Files whose set-user-id or set-group-id bit was not taken over. */
          withoutSetId: count,
        }),
      ),
    }),
  },
  "device.export": {
    changes: true,
    summary:
      "The files of a device, as they are at this moment, as a tar stream to the client; takes a snapshot meanwhile.",
    params: v.object({ name: deviceName }),
    result: v.object({
      entries: count,
      streamBytes: u64,
      sha256,
      /** Device nodes, sockets and pipes, which are not in the stream. */
      left: count,
    }),
  },
} as const satisfies Methods;

/** The methods that have a stream. */
export type StreamMethod = keyof typeof streamMethods;

export function isStreamMethod(name: string): name is StreamMethod {
  return Object.hasOwn(streamMethods, name);
}
