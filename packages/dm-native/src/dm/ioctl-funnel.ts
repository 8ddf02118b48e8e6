/**
 * The one function that issues device-mapper ioctls: version, flags, event number, buffer growth,
 * where to run, and what an errno means, all by the table in `commands.ts`.
 */
import type { DevNumber } from "../dev-number.ts";
import { formatDevNumber } from "../dev-number.ts";
import { NativeError } from "../errors.ts";
import { mangle } from "../names.ts";
import { ERRNO, errnoName, nativeErrorFromErrno } from "../sys/errno.ts";
import type { ErrnoName } from "../sys/errno.ts";
import { ioctl, ioctlLong, ioctlLongAll, ioctlSync } from "../sys/ioctl.ts";
import type { SyscallResult } from "../sys/libc.ts";
import type { LongWaitLane } from "../sys/long-wait.ts";
import { COMMANDS, FLAG_NEEDS, SET_UUID_NEEDS } from "./commands.ts";
import type { DmCommand } from "./commands.ts";
import type { DmDeviceRef, DmVersion, OpenFile } from "./device-mapper.ts";
import { tellIoctl } from "./ioctl-channel.ts";
import { syncFailure } from "./sync-first.ts";
import { DM_FLAG, HEADER_BYTES, decodeHeader, encodeDev, encodeHeader } from "./header.ts";
import type { ReplyHeader } from "./header.ts";

/** Room for a reply at first: a table of some ten lines, a list of some hundred devices. */
export const FIRST_REPLY_BYTES: number = 16 * 1024;
/** Doubled up to this: a list of some hundred thousand devices. The kernel has no bound of its own. */
export const MAX_BUFFER_BYTES: number = 16 * 1024 * 1024;

/** How often an interruptible command is asked for again: whoever is stopped and continued is so now and then. */
export const MAX_INTERRUPTIONS = 8;

export interface DmRequest {
  readonly command: DmCommand;
  /** In errors; else made of `device`. */
  readonly object?: string;
  readonly device?: DmDeviceRef;
  /** DM_DEV_CREATE and DM_GET_TARGET_VERSION: the name field as it is (mangled by the caller). */
  readonly rawName?: string;
  /** DM_DEV_CREATE only: name and uuid together. */
  readonly rawUuid?: string;
  readonly dev?: DevNumber;
  readonly flags?: number;
  /** An event number or a udev cookie, as the command has it. */
  readonly eventNr?: number;
  readonly targetCount?: number;
  readonly payload?: Buffer;
  readonly signal?: AbortSignal;
}

export interface DmReply {
  readonly header: ReplyHeader;
  /** What follows the header, without the unused rest of the buffer. */
  readonly data: Buffer;
}

export interface Funnel {
  readonly fd: number;
  readonly lane: LongWaitLane;
  readonly events: LongWaitLane;
}

/** "vm-1", "uuid ABC", "252:3". */
export function describeRef(device: DmDeviceRef): string {
  if ("name" in device) return device.name;
  if ("uuid" in device) return `uuid ${device.uuid}`;
  return formatDevNumber(device.dev);
}

function newer(a: DmVersion, b: DmVersion): DmVersion {
  return a.minor >= b.minor ? a : b;
}

function versionToSend(request: DmRequest, flags: number): DmVersion {
  let version: DmVersion = COMMANDS[request.command].needs;
  for (const [flag, needs] of FLAG_NEEDS) {
    if ((flags & flag) !== 0) version = newer(version, needs);
  }
  if (request.command === "DM_DEV_RENAME" && (flags & DM_FLAG.UUID) !== 0) {
    version = newer(version, SET_UUID_NEEDS);
  }
  return version;
}

/** For what is asked on this thread: its answer is copied out before anything else can be asked. */
const scratch = Buffer.alloc(FIRST_REPLY_BYTES);

/** `buffer` holds zeros; all of it is for the answer. */
function encodeRequest(request: DmRequest, buffer: Buffer): Buffer {
  const spec = COMMANDS[request.command];
  const flags = (request.flags ?? 0) & spec.flags;
  const device = request.device;
  const dev = device !== undefined && "dev" in device ? device.dev : request.dev;
  const name = device !== undefined && "name" in device ? mangle(device.name) : undefined;
  const uuid = device !== undefined && "uuid" in device ? mangle(device.uuid) : undefined;
  encodeHeader(buffer, {
    version: versionToSend(request, flags),
    dataSizeBytes: buffer.length,
    targetCount: request.targetCount ?? 0,
    flags,
    eventNr: spec.eventNr === "none" ? 0 : (request.eventNr ?? 0),
    dev: dev === undefined ? 0n : encodeDev(dev),
    name: request.rawName ?? name ?? "",
    uuid: request.rawUuid ?? uuid ?? "",
  });
  request.payload?.copy(buffer, HEADER_BYTES);
  return buffer;
}

function firstSize(request: DmRequest): number {
  const spec = COMMANDS[request.command];
  const needed = HEADER_BYTES + (request.payload?.length ?? 0);
  return Math.max(needed, spec.replies ? FIRST_REPLY_BYTES : HEADER_BYTES);
}

interface Issued {
  readonly outcome: SyscallResult;
  readonly buffer: Buffer;
}

/** A room for each answer would be garbage of 16 KiB, where the answer is some hundred bytes. */
function issueHere(funnel: Funnel, request: DmRequest, sizeBytes: number): Issued {
  const room =
    sizeBytes > scratch.length ? Buffer.alloc(sizeBytes) : scratch.subarray(0, sizeBytes);
  encodeRequest(request, room.fill(0));
  const outcome = ioctlSync(funnel.fd, COMMANDS[request.command].request, room);
  const { end } = extentOf(decodeHeader(room), room);
  return { outcome, buffer: Buffer.from(room.subarray(0, end)) };
}

async function issueElsewhere(
  funnel: Funnel,
  request: DmRequest,
  sizeBytes: number,
): Promise<Issued> {
  const { request: number, place } = COMMANDS[request.command];
  const buffer = encodeRequest(request, Buffer.alloc(sizeBytes));
  if (place === "pool") return { outcome: await ioctl(funnel.fd, number, buffer), buffer };
  const lane = place === "lane" ? funnel.lane : funnel.events;
  const options = request.signal === undefined ? {} : { signal: request.signal };
  return { outcome: await ioctlLong(lane, funnel.fd, number, buffer, options), buffer };
}

function describe(request: DmRequest): string {
  if (request.object !== undefined) return request.object;
  return request.device === undefined ? "the device-mapper" : describeRef(request.device);
}

/** The version is filled in by the kernel even when it refuses: that tells a too old one apart. */
function failure(request: DmRequest, errno: number, buffer: Buffer): NativeError {
  const spec = COMMANDS[request.command];
  const flags = (request.flags ?? 0) & spec.flags;
  const needs = versionToSend(request, flags);
  const has = decodeHeader(buffer).version;
  const tooOld = has.major !== needs.major || has.minor < needs.minor;
  if ((errno === ERRNO.EINVAL && tooOld) || errno === ERRNO.ENOTTY) {
    return nativeErrorFromErrno({
      operation: request.command,
      object: describe(request),
      errno,
      code: "NATIVE_UNSUPPORTED",
      reason: `the kernel's dm interface is ${has.major}.${has.minor}.${has.patch}`,
      hint: `It needs ${needs.major}.${needs.minor}.${needs.patch} or newer.`,
    });
  }
  const meaning = spec.errors?.[errnoName(errno) as ErrnoName];
  return nativeErrorFromErrno({
    operation: request.command,
    object: describe(request),
    errno,
    ...meaning,
  });
}

/** Where the data of an answer lies, whatever the kernel says. */
function extentOf(header: ReplyHeader, buffer: Buffer): { start: number; end: number } {
  const start = Math.min(Math.max(header.dataStart, HEADER_BYTES), buffer.length);
  const end = Math.min(Math.max(header.dataSizeBytes, start), buffer.length);
  return { start, end };
}

function replyOf(buffer: Buffer): DmReply {
  const header = decodeHeader(buffer);
  const { start, end } = extentOf(header, buffer);
  return { header, data: buffer.subarray(start, end) };
}

function tell(request: DmRequest, outcome: SyscallResult): void {
  tellIoctl(() => ({
    command: request.command,
    object: describe(request),
    errno: outcome.errno,
  }));
}

/** Issues one command and waits for its answer. Rejects with NativeError. */
export async function issue(funnel: Funnel, request: DmRequest): Promise<DmReply> {
  let sizeBytes = firstSize(request);
  let interruptions = 0;
  const { place, interruptible = false } = COMMANDS[request.command];
  for (;;) {
    const isHere = place === "here";
    const { outcome, buffer } = isHere
      ? issueHere(funnel, request, sizeBytes)
      : await issueElsewhere(funnel, request, sizeBytes);
    tell(request, outcome);
    if (outcome.result < 0) {
      interruptions += 1;
      const isInterrupted = interruptible && outcome.errno === ERRNO.EINTR;
      if (isInterrupted && interruptions <= MAX_INTERRUPTIONS) continue;
      throw failure(request, outcome.errno, buffer);
    }
    const reply = replyOf(buffer);
    if ((reply.header.flags & DM_FLAG.BUFFER_FULL) === 0) return reply;
    sizeBytes *= 2;
    if (sizeBytes > MAX_BUFFER_BYTES) {
      throw new NativeError({
        code: "NATIVE_TIMEOUT",
        operation: request.command,
        object: describe(request),
        reason: `the answer does not fit into ${MAX_BUFFER_BYTES} bytes`,
        hint: "Ask for less; a table or list of this size is not expected.",
      });
    }
  }
}

export interface IssuedAll {
  /** Of the commands that succeeded, from the first on. */
  readonly replies: readonly DmReply[];
  /** Of the one after those. */
  readonly failure: NativeError | undefined;
  /** `failure` is of `syncFirst`. */
  readonly unsynced?: true;
}

/**
 * Issues commands one after another on one thread of the lane, up to the first that fails. Only those
 * that answer with no more than a header: their buffers don't grow.
 */
export async function issueAll(
  funnel: Funnel,
  requests: readonly DmRequest[],
  syncFirst?: OpenFile,
): Promise<IssuedAll> {
  const calls = requests.map((request) => ({
    request: COMMANDS[request.command].request,
    argument: encodeRequest(request, Buffer.alloc(HEADER_BYTES + (request.payload?.length ?? 0))),
  }));
  const all = await ioctlLongAll(funnel.lane, funnel.fd, calls, syncFirst?.fd);
  const [first] = all;
  if (syncFirst !== undefined && first !== undefined && first.result < 0) {
    return { replies: [], failure: syncFailure(syncFirst.path, first.errno), unsynced: true };
  }
  const outcomes = syncFirst === undefined ? all : all.slice(1);
  const replies: DmReply[] = [];
  for (const [index, outcome] of outcomes.entries()) {
    const [request, call] = [requests[index], calls[index]];
    if (request === undefined || call === undefined) break;
    tell(request, outcome);
    if (outcome.result < 0) {
      return { replies, failure: failure(request, outcome.errno, call.argument) };
    }
    replies.push(replyOf(call.argument));
  }
  return { replies, failure: undefined };
}
