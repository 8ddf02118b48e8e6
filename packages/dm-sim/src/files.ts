/**
 * The files of a simulated filesystem, for tests that have real folders in the place of mounts: while it is
 * mounted they are in the folder; written back they are bytes of the device, as any other. So a snapshot
 * has them, a full pool refuses them, and a power cut loses what was not written back.
 */
import {
  chmodSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { Refusal } from "./faults.ts";
import type { BlockIo } from "./machine.ts";

/** Behind the superblocks of both types. */
const OFFSET_BYTES = 64 << 10;
const LENGTH_BYTES = 8;

/** A path, what it is, permissions, seconds; a file's bytes in base64, a link's target. */
type Entry = readonly [
  path: string,
  kind: "file" | "folder" | "symlink" | "link",
  mode: number,
  mtime: number,
  content: string,
];

/** Takes the folder's files over into the device. ENOSPC where they do not fit. */
export function writeBack(device: BlockIo, folder: string): void {
  const entries = [...entriesOf(folder)];
  const before = storedLength(device);
  if (entries.length === 0 && before === 0) return;
  const bytes = Buffer.from(JSON.stringify(entries));
  if (OFFSET_BYTES + LENGTH_BYTES + bytes.length > device.sizeBytes()) {
    throw new Refusal("ENOSPC", "the files do not fit the filesystem");
  }
  const stored = device.read(OFFSET_BYTES + LENGTH_BYTES, before);
  // What is as it was is not written again: its blocks stay shared.
  if (stored.equals(bytes)) return;
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeBigUInt64LE(BigInt(bytes.length));
  device.write(OFFSET_BYTES, Buffer.concat([length, bytes]));
}

/** Makes the device's files in the empty folder. */
export function readOut(device: BlockIo, folder: string): void {
  const length = storedLength(device);
  if (length === 0) return;
  const text = device.read(OFFSET_BYTES + LENGTH_BYTES, length).toString("utf8");
  const entries = JSON.parse(text) as readonly Entry[];
  for (const entry of entries) make(folder, entry);
  // From the inside out: a folder may be closed, and what is made in it changes its time.
  for (const [path, kind, mode, mtime] of entries.toReversed()) {
    if (kind !== "link") lutimesSync(join(folder, path), mtime, mtime);
    if (kind === "file" || kind === "folder") chmodSync(join(folder, path), mode);
  }
}

/** The folder as it is when nothing is mounted there. */
export function empty(folder: string): void {
  for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
}

function make(folder: string, [path, kind, , , content]: Entry): void {
  const place = join(folder, path);
  if (kind === "folder") mkdirSync(place);
  else if (kind === "symlink") symlinkSync(content, place);
  else if (kind === "link") linkSync(join(folder, content), place);
  else writeFileSync(place, Buffer.from(content, "base64"));
}

function* entriesOf(
  folder: string,
  inside = "",
  linked = new Map<number, string>(),
): Generator<Entry> {
  for (const name of readdirSync(join(folder, inside)).toSorted()) {
    const path = join(inside, name);
    const place = join(folder, path);
    const stat = lstatSync(place);
    const [mode, mtime] = [stat.mode & 0o7777, stat.mtimeMs / 1000];
    const first = stat.nlink > 1 && !stat.isDirectory() ? linked.get(stat.ino) : undefined;
    if (first === undefined) linked.set(stat.ino, path);
    if (first !== undefined) yield [path, "link", mode, mtime, first];
    else if (stat.isDirectory()) {
      yield [path, "folder", mode, mtime, ""];
      yield* entriesOf(folder, path, linked);
    } else if (stat.isSymbolicLink()) yield [path, "symlink", mode, mtime, readlinkSync(place)];
    else if (stat.isFile()) {
      yield [path, "file", mode, mtime, readFileSync(place).toString("base64")];
    }
  }
}

function storedLength(device: BlockIo): number {
  if (device.sizeBytes() < OFFSET_BYTES + LENGTH_BYTES) return 0;
  return Number(device.read(OFFSET_BYTES, LENGTH_BYTES).readBigUInt64LE());
}
