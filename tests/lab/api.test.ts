/** The API's cases against the real daemon, as uid 1000; it is killed where they ask for a restart. */
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { linuxKernel } from "@thinpool/thinpool";
import { USERS, daemonProcess } from "./daemon-process.ts";
import { NODE_FLAGS } from "./runtime.ts";

const PROGRAM = new URL("./api-user.ts", import.meta.url).pathname;
const UID = 1000;

test("the API as uid 1000", async () => {
  await using kernel = linuxKernel();
  await using daemon = await daemonProcess(kernel);
  const args = [String(UID), String(USERS.gid), daemon.socketPath];
  const user = fork(PROGRAM, args, {
    execArgv: [...NODE_FLAGS],
    // The reporter's text is for people; node:test in the child sets the exit code.
    stdio: ["ignore", "pipe", "inherit", "ipc"],
    env: {},
  });
  let output = "";
  user.stdout?.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  user.on("message", () => void daemon.killAndRestart().then(() => user.send("restarted")));
  const [code] = (await once(user, "close")) as [number | null];
  assert.equal(code, 0, `${output}\n${daemon.log()}`);
  assert.match(output, /# pass [1-9]|ℹ pass [1-9]/);
});
