/**
 * The API's cases as a user without privileges, against the daemon at SOCKET: run by api.test.ts as
 * `api-user.ts UID GID SOCKET`. It starts as root only so that it can read this repository wherever
 * that lies, and gives that up before the first case. Who started it kills and starts the daemon when it
 * says so on its channel.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "@thinpool/sdk";
import { apiCases } from "../api/cases.ts";

const [uid = "", gid = "", socketPath = ""] = process.argv.slice(2);
process.setgroups?.([Number(gid)]);
process.setgid?.(Number(gid));
process.setuid?.(Number(uid));
assert.equal(process.getuid?.(), Number(uid));
// Without a listener the channel does not keep this process alive.
process.channel?.unref();

apiCases(() => ({
  connect: (options) => connect({ timeoutMs: 120_000, ...options, socketPath }),
  restart: async () => {
    process.channel?.ref();
    process.send?.("restart");
    await once(process, "message");
    process.channel?.unref();
  },
  isReal: true,
  isRoot: false,
}));
