/**
 * device.import, device.export. The worker reads and writes the streams and the files; here is only what
 * it takes root for: a device, a mount of it for the worker's user, and that nothing is left of a call
 * that failed. That device is ephemeral, and held by a session of the call's own: whatever ends the call,
 * this process's death included, the device goes as any ephemeral one does (REF-7).
 */
import type { Device, ThinPool } from "@thinpool/thinpool";
import { DEFAULT_DEVICE_BYTES } from "@thinpool/thinpool";
import type { MethodParams } from "@thinpool/protocol";
import type { CallerWorker } from "../caller.ts";
import { hostFull, RequestError } from "../errors.ts";
import type { Principal } from "../policy/policy.ts";
import type { TransferOutcome, TransferWish } from "../server/channel.ts";
import { deviceToWire } from "./device-to-wire.ts";
import type { CallContext, HandlerParts, Handlers, Within } from "./handler.ts";

type Transferred = Extract<TransferOutcome, { readonly ok: true }>;

/** How much of the device's uuid is in the name of a snapshot for an export. */
const SNAPSHOT_NAME_DIGITS = 12;

export function streamHandlers(
  parts: HandlerParts,
  within: Within,
): Pick<Handlers, "device.import" | "device.export"> {
  const { pool, mounts, sessions, ephemerals, stopping, inTurn } = parts;
  const toWire = deviceToWire(parts);

  /** Makes the device by `make`, has the worker stream it, and then `settle`s it; then it is not mounted. */
  const streamed = async <T>(
    call: CallContext,
    options: {
      readonly operation: "device.import" | "device.export";
      readonly name: string;
      readonly uuid: string;
      readonly make: () => Promise<Device>;
      readonly labels?: MethodParams<"device.import">["labels"] | undefined;
      readonly wish: Omit<TransferWish, "path">;
      readonly settle: (device: Device, transferred: Transferred) => Promise<T> | T;
    },
  ): Promise<T> => {
    const { operation, name, uuid, make, labels, wish, settle } = options;
    const { uid } = call.principal;
    const worker = workerOf(call, operation, name);
    const session = sessions.begin();
    try {
      const making = (): Promise<Device> => {
        assertWanted(call);
        return ephemerals.create({ name, uuid, session }, make);
      };
      const device = await inTurn(name, operation, making, uid);
      const { path } = await inTurn(name, operation, async () => {
        // Between the turns it may have been removed, and its name be another's by now.
        if (pool.list({ uuid })[0]?.name !== name) throw removed({ operation, object: name });
        if (labels !== undefined) await pool.update({ name, labels });
        const holder = { type: "session", session } as const;
        return mounts.create(worker.identity, device, { holder, asOwn: true });
      });
      assertWanted(call);
      const transferred = await worker.transfer({ ...wish, path }, stopping);
      return await settle(device, transferred);
    } catch (error) {
      // Given up half way by the caller himself: who asks with the same key still gets it done.
      const isCancelled = error instanceof RequestError && error.code === "CANCELLED";
      if (isCancelled && call.signal.aborted) throw call.signal.reason;
      const isUnexplained = error instanceof RequestError && error.code === "INTERNAL";
      throw isUnexplained ? await explained(pool, { operation, object: name }, error) : error;
    } finally {
      sessions.end(session);
      // What can't be done now is due, and the reaper's.
      await inTurn(name, operation, () => mounts.tend(name)).catch(() => undefined);
    }
  };

  const makeEmpty = async (
    { name, sizeBytes, filesystem }: MethodParams<"device.import">,
    principal: Principal,
    uuid: string,
  ): Promise<Device> => {
    const size = sizeBytes === undefined ? DEFAULT_DEVICE_BYTES : BigInt(sizeBytes);
    const { device } = await within(principal, { devices: 1, sizeBytes: size }, () =>
      pool.createDevice({
        name,
        ownerUid: principal.uid,
        uuid,
        sizeBytes: size,
        ...(filesystem === undefined ? {} : { filesystem }),
      }),
    );
    return device;
  };

  const makeCopy = (origin: Device, name: string, ownerUid: number, uuid: string, who: Principal) =>
    within(who, { devices: 1, sizeBytes: origin.sizeBytes, copies: [origin] }, async () => {
      // By then another device may have the origin's name: of that one no copy is made, not even for a moment.
      const from = { origin: origin.name, originUuid: origin.uuid };
      return (await pool.snapshot({ ...from, name, ownerUid, uuid })).device;
    });

  return {
    "device.import": async (params, principal, call) => {
      const { name, origin, labels, streamBytes, sha256 } = params;
      if (origin !== undefined && (params.sizeBytes ?? params.filesystem) !== undefined) {
        const reason = "a copy of an origin has the origin's size and filesystem";
        const about = { operation: "device.import", object: name, reason };
        throw new RequestError({ ...about, code: "INVALID_PARAMS" });
      }
      // The one that the policy has just judged: nothing was awaited since.
      const judged = origin === undefined ? undefined : pool.get({ name: origin });
      const uuid = call.newUuid();
      // A pool on files may promise more than its host has. What fills the host up on the way fails with I/O
      // errors, in the pool's metadata too, which then has to be repaired: what can't fit is not begun, and a
      // stream of unknown length ends where the room did that there is now.
      const maxBytes = await hostFreeBytes(pool);
      if (streamBytes !== undefined && maxBytes !== undefined && maxBytes < BigInt(streamBytes)) {
        const reason = `the archive has ${streamBytes} bytes, the host's filesystem under the pool ${maxBytes} free`;
        throw hostFull({ operation: "device.import", object: name, reason });
      }
      const content = await streamed(call, {
        operation: "device.import",
        name,
        uuid,
        make: () =>
          judged === undefined
            ? makeEmpty(params, principal, uuid)
            : makeCopy(judged, name, principal.uid, uuid, principal),
        labels,
        wish: {
          direction: "to-daemon",
          streamBytes: numberOf(streamBytes),
          maxBytes: numberOf(maxBytes),
          sha256,
        },
        settle: async (device, { entries, streamBytes: bytes, sha256: sum, reduced }) => {
          // From here on it is there to stay; the worker has made its files durable.
          await ephemerals.keep(device);
          return { entries, streamBytes: String(bytes), sha256: sum, withoutSetId: reduced };
        },
      });
      const [device] = pool.list({ uuid });
      if (device === undefined) throw removed({ operation: "device.import", object: name });
      return { device: toWire(device), content };
    },

    "device.export": ({ name: origin }, principal, call) => {
      const judged = pool.get({ name: origin });
      const uuid = call.newUuid();
      const name = `export-${uuid.replaceAll("-", "").slice(0, SNAPSHOT_NAME_DIGITS)}`;
      return streamed(call, {
        operation: "device.export",
        name,
        uuid,
        // A snapshot: the files of one moment, in a filesystem that has recovered, and nobody is in the way.
        make: () => makeCopy(judged, name, principal.uid, uuid, principal),
        wish: { direction: "to-client" },
        settle: (_device, { entries, streamBytes, sha256, reduced }) => {
          return { entries, streamBytes: String(streamBytes), sha256, left: reduced };
        },
      });
    },
  };
}

function workerOf(call: CallContext, operation: string, object: string): CallerWorker {
  if (call.worker !== undefined) return call.worker;
  const reason = "nobody is there to read or write the stream";
  throw new RequestError({ code: "UNSUPPORTED", operation, object, reason });
}

function removed(about: { readonly operation: string; readonly object: string }): RequestError {
  const reason = "the device was removed meanwhile";
  return new RequestError({ ...about, code: "NOT_FOUND", reason });
}

/** Its caller is gone or has given it up, and no stream has begun: whoever asks again begins anew. */
function assertWanted({ signal }: CallContext): void {
  if (signal.aborted) throw signal.reason;
}

/** Of the filesystem under a pool of files. */
async function hostFreeBytes(pool: ThinPool): Promise<bigint | undefined> {
  return (await pool.status()).space.hostFreeBytes;
}

/**
 * The worker sees an I/O error and no more where others have filled the host meanwhile. A pool that can't say
 * how it is explains nothing.
 */
async function explained(
  pool: ThinPool,
  about: { readonly operation: string; readonly object: string },
  error: RequestError,
): Promise<RequestError> {
  const status = await pool.status().catch(() => undefined);
  const freeBytes = status?.space.hostFreeBytes;
  if (status === undefined || freeBytes === undefined) return error;
  if (freeBytes >= status.blockSizeBytes) return error;
  return hostFull({ ...about, reason: "the host's filesystem under the pool is full" });
}

function numberOf(amount: string | bigint | undefined): number | undefined {
  return amount === undefined ? undefined : Number(amount);
}
