#!/usr/bin/env node
/** `thinpool`: from the sources and built alike, so the commands are those beside this file. */
import { readFileSync } from "node:fs";
import { dirname, extname, join } from "node:path";
import { main } from "./lib/main.ts";

const root = dirname(import.meta.dirname);
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly name: string;
  readonly version: string;
};
const target = join(import.meta.dirname, "commands", `index${extname(import.meta.filename)}`);
await main({ argv: process.argv.slice(2), root, manifest, target });
