/** The certificate and key of the TCP port, read by root, and checked before anybody is served by them. */
import { X509Certificate, createPrivateKey } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { open } from "node:fs/promises";
import { constants } from "node:fs";
import { StartError } from "../start-error.ts";
import { MAX_PEM_BYTES } from "./limits.ts";

/** Bits of a mode that let anybody but the owner in; an ACL shows in the group's. */
const OTHERS = 0o077;
const OTHERS_WRITE = 0o022;

/** Both as PEM. */
export interface Certificate {
  /** The daemon's own first, then those that lead to its issuer. */
  readonly certificate: string;
  readonly key: string;
}

export interface CertificateFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
}

/** Rejects with StartError: what is wrong with which file. */
export async function readCertificate(files: CertificateFiles): Promise<Certificate> {
  const { certificateFile, keyFile } = files;
  const certificate = await readPem(certificateFile, OTHERS_WRITE, "written");
  const key = await readPem(keyFile, OTHERS, "read");
  const own = parse(
    certificateFile,
    "no certificate in PEM",
    () => new X509Certificate(certificate),
  );
  const secret = parse(keyFile, "no private key in PEM without a passphrase", () =>
    createPrivateKey(key),
  );
  if (!own.checkPrivateKey(secret)) {
    throw refusal(
      keyFile,
      `it is not the key of the certificate in ${certificateFile}`,
      "Give the two that belong together; the daemon's own certificate comes first in its file.",
    );
  }
  return { certificate, key };
}

function refusal(object: string, reason: string, hint: string, cause?: unknown): StartError {
  return new StartError({ code: "OPTION_INVALID", object, reason, hint, cause });
}

function parse<T>(file: string, reason: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw refusal(file, `there is ${reason}`, "Give a file in PEM.", error);
  }
}

async function readPem(path: string, forbidden: number, verb: string): Promise<string> {
  let handle: FileHandle;
  try {
    // A FIFO would wait for its writer.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw refusal(path, `it can't be read: ${reason}`, "Name a file that is there.", error);
  }
  try {
    const stats = await handle.stat();
    const own = process.geteuid?.() ?? 0;
    if (!stats.isFile() || stats.size > MAX_PEM_BYTES) {
      throw refusal(path, `it is no file of up to ${MAX_PEM_BYTES} bytes`, "Name another.");
    }
    if ((stats.uid !== 0 && stats.uid !== own) || (stats.mode & forbidden) !== 0) {
      const mode = (stats.mode & 0o777).toString(8).padStart(3, "0");
      throw refusal(
        path,
        `it can be ${verb} by others than root (owner ${stats.uid}, mode ${mode})`,
        `Make it root's alone: chown root ${path}; chmod ${verb === "read" ? "600" : "644"} ${path}.`,
      );
    }
    return await handle.readFile("utf8");
  } finally {
    await handle.close();
  }
}
