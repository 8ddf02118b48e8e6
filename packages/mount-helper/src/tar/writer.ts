/** Writes the headers of a tar archive: ustar, with a pax header where ustar has no room. Pure. */
import type { TarEntry, TarEntryType } from "./entry.ts";
import { BLOCK_BYTES, paddingOf } from "./entry.ts";

/** What ends an archive. */
export const TAR_END: Uint8Array = new Uint8Array(2 * BLOCK_BYTES);

const FLAGS: Readonly<Partial<Record<TarEntryType, string>>> = {
  file: "0",
  "hard link": "1",
  symlink: "2",
  folder: "5",
};
const NAME_BYTES = 100;
/** Eleven octal digits. */
const MAX_USTAR_NUMBER = 0o77777777777;
const META_MODE = 0o644;

export type WrittenEntry = Omit<TarEntry, "flag">;

/** All that comes before the entry's body. Its owner is root: in an archive of ours nobody else is. */
export function tarHeader(entry: WrittenEntry): Uint8Array {
  const flag = FLAGS[entry.type];
  if (flag === undefined) throw new TypeError(`a ${entry.type} is not written`);
  const mtimeSeconds = Math.min(MAX_USTAR_NUMBER, Math.max(0, Math.floor(entry.mtimeSeconds)));
  const records = paxRecords(entry);
  const header = block({ ...entry, flag, mtimeSeconds });
  if (records === "") return header;
  const body = Buffer.from(records);
  const meta = block({
    flag: "x",
    path: "pax",
    linkPath: "",
    mode: META_MODE,
    mtimeSeconds,
    sizeBytes: body.length,
  });
  return Buffer.concat([meta, body, new Uint8Array(paddingOf(body.length)), header]);
}

function paxRecords({ path, linkPath, sizeBytes }: WrittenEntry): string {
  const records: string[] = [];
  if (!fits(path)) records.push(paxRecord("path", path));
  if (!fits(linkPath)) records.push(paxRecord("linkpath", linkPath));
  if (sizeBytes > MAX_USTAR_NUMBER) records.push(paxRecord("size", String(sizeBytes)));
  return records.join("");
}

/** ASCII only: what else a name in ustar means is everybody's own. */
function fits(text: string): boolean {
  return text.length <= NAME_BYTES && /^[\u0020-\u007e]*$/.test(text);
}

function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const restBytes = Buffer.byteLength(rest);
  let length = restBytes + String(restBytes).length;
  // The length's own digits may have made it a digit longer.
  length = restBytes + String(length).length;
  return `${length}${rest}`;
}

function block(entry: Omit<TarEntry, "type">): Buffer {
  const { path, linkPath, mode, sizeBytes, mtimeSeconds, flag } = entry;
  const bytes = Buffer.alloc(BLOCK_BYTES);
  // Where these do not fit the pax header has them whole.
  bytes.write(path, 0, NAME_BYTES);
  octal(bytes, 100, 8, mode);
  octal(bytes, 108, 8, 0);
  octal(bytes, 116, 8, 0);
  octal(bytes, 124, 12, Math.min(sizeBytes, MAX_USTAR_NUMBER));
  octal(bytes, 136, 12, mtimeSeconds);
  bytes.write(flag, 156);
  bytes.write(linkPath, 157, NAME_BYTES);
  bytes.write("ustar\u000000", 257);
  bytes.write("root", 265);
  bytes.write("root", 297);
  bytes.fill(" ", 148, 156);
  octal(
    bytes,
    148,
    7,
    bytes.reduce((sum, byte) => sum + byte, 0),
  );
  return bytes;
}

/** With its NUL behind it. */
function octal(bytes: Buffer, at: number, length: number, value: number): void {
  bytes.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, length);
}
