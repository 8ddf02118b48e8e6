/**
 * The guards of the daemon's security, each taken out in turn: a test must see it. Each is a text that
 * is once in its file, what to put in its place, and the test that fails then.
 */
import type { Mutant } from "../crash/mutants.ts";

const SRC = "packages/mount-helper/src";

function inFile(
  file: string,
  test: string,
  changes: readonly (readonly [what: string, search: string, replace: string])[],
): readonly Mutant[] {
  return changes.map(([what, search, replace]) => ({
    what,
    file: `${SRC}/${file}`,
    search,
    replace,
    test: { file: `${SRC}/${test}` },
  }));
}

export const GUARD_MUTANTS: readonly Mutant[] = [
  ...inFile("idempotency/keyed-calls.ts", "idempotency/keyed-calls.test.ts", [
    [
      "record what was made before anything is taken away",
      " || pending !== undefined) return pending;",
      ") return undefined;",
    ],
  ]),
  ...inFile("idempotency/keyed-calls.ts", "idempotency/keyed-calls.test.ts", [
    [
      "give what has ended another uuid",
      "return isThere(last) ? last : this.#uuid(used, 0, last);",
      "void isThere; return last;",
    ],
    [
      "handle what is held for the joiner as well",
      'if (rule?.how !== "held") return outcome;',
      "return outcome;",
    ],
  ]),
  ...inFile("references/mount-service.ts", "handlers/interleavings.test.ts", [
    [
      "give a reference to who asks for it again",
      "const held = { ...reference, holder };",
      "const held = { ...reference }; void holder;",
    ],
  ]),
  ...inFile("idempotency/key-store.ts", "idempotency/key-store.test.ts", [
    ["sync the keys of a batch", "return this.#file.lasting();", "return Promise.resolve();"],
    [
      "write what was made for who waits for it",
      "    this.#writeSoon();\n    return this.#lastUnwritten;",
      "    return this.#lastUnwritten;",
    ],
    ["sync that a key is free", "this.#follow(this.#file.lasting().catch(failed));", ""],
    ["wait for all that was done before", "Promise.all([this.#lastUnwritten, written])", "written"],
  ]),
  ...inFile("server/back.ts", "server/back.test.ts", [
    ["serve nobody who was told to go", "if (connection.dismissed) return;", ""],
    [
      "end a front that names another's connection",
      "this.#misbehaves(`a message about connection ${checked.connection}, which it does not have`);",
      "",
    ],
    [
      "check a front's requests by their schema again",
      "const request = checkRequest({ id, method, params });",
      "const request = { ok: true, value: { id, method, params } as KnownRequest, reason: '' };",
    ],
    [
      "limit a connection's requests in flight",
      "connection.waiting.size >= MAX_REQUESTS_IN_FLIGHT || ",
      "",
    ],
    ["limit a user's connections", " || own >= MAX_CONNECTIONS_PER_UID", ""],
    [
      "limit what a front writes into the log",
      "if (connection.notes > MAX_NOTES_PER_CONNECTION) return;",
      "",
    ],
    [
      "limit a user's requests in flight",
      "this.#inFlight < requestsInFlight",
      "this.#inFlight >= 0",
    ],
    [
      "limit a user's requests per second",
      "if (this.#meter.take(requestsPerSecond, performance.now())) return true;",
      "this.#meter.take(requestsPerSecond, performance.now()); if (requestsPerSecond > 0) return true;",
    ],
    [
      "count what is no request",
      'case "note":\n        this.#count(connection.principal);',
      'case "note":',
    ],
    ["end a front that idles", "setTimeout(() => this.end(),", "setTimeout(() => undefined,"],
    [
      "limit a user's streams",
      "if (this.#transfers.size >= MAX_TRANSFERS_PER_UID) {",
      "if (this.#transfers.size < 0) {",
    ],
    ["limit the fronts", "if (this.#fronts.size >= MAX_FRONTS) this.#makeRoom();", ""],
    ["let only opened connections ask", "!request.ok || !connection.opened", "!request.ok"],
  ]),
  ...inFile("tree/paths.ts", "tree/unpack.test.ts", [
    ["refuse an absolute path", 'if (written.startsWith("/"))', "if (false)"],
    ["refuse `..` in a path", 'if (parts.includes(".."))', "if (false)"],
    ["limit a path's depth", "if (parts.length > MAX_DEPTH)", "if (false)"],
    ["limit a name's length", "Buffer.byteLength(part) > MAX_NAME_BYTES", "false"],
    ["limit a path's length", "if (Buffer.byteLength(path) > MAX_PATH_BYTES)", "if (false)"],
  ]),
  ...inFile("tree/unpack.ts", "tree/unpack.test.ts", [
    ["refuse device nodes and pipes", "throw refuse(entry, `it is a ${type}`);", "return;"],
    [
      "refuse what nobody knows",
      "throw refuse(entry, `it is of a kind that is not known (${quoted(entry.flag)})`);",
      "return;",
    ],
    ["leave set-id bits off", "await file.chmod(mode & MODE_BITS);", "await file.chmod(mode);"],
    [
      "leave set-id bits of folders off",
      "{ mode: mode & MODE_BITS, mtimeSeconds }",
      "{ mode, mtimeSeconds }",
    ],
    [
      "judge a hard link's target as a path",
      "target = treePath(entry.linkPath);",
      'target = { path: entry.linkPath, folder: entry.linkPath.split("/").slice(0, -1).join("/"), name: entry.linkPath.split("/").at(-1) ?? "" };',
    ],
    [
      "go to a hard link's target without following symlinks",
      "const from = at(await this.#tree.folder(target.folder), target.name);",
      "const from = `${at(this.#tree)}/${target.path}`;",
    ],
    [
      "go to a folder without following symlinks",
      "const made = await this.#tree.folder(path);",
      "const made = { descriptor: (await open(`${at(this.#tree)}/${path}`, 0)).fd };",
    ],
    ["limit the entries", "if (this.entries > this.#limits.entries) {", "if (false) {"],
    ["limit the folders", "if (this.#folders.size > this.#limits.folders) {", "if (false) {"],
    ["limit a symlink's target", "bytes > MAX_TARGET_BYTES", "false"],
  ]),
  ...inFile("tree/folders.ts", "tree/unpack.test.ts", [
    [
      "keep every way beneath the top, by the kernel",
      "const descriptor = await openFolderBeneath(this.#handle.fd, path);",
      "const descriptor = (await open(`${at(this)}/${path}`, constants.O_DIRECTORY)).fd;",
    ],
  ]),
  ...inFile("tar/reader.ts", "tar/reader.test.ts", [
    [
      "refuse an archive that breaks off",
      'throw broken("it ends in the middle, without its end mark");',
      "return;",
    ],
    ["check a header's sum", "if (sum !== actual) {", "if (false) {"],
    ["limit a header's size", "if (sizeBytes > MAX_META_BYTES) {", "if (false) {"],
    ["limit the headers of one entry", "if (metas > MAX_METAS_PER_ENTRY)", "if (false)"],
    ["refuse sparse files", 'if (key.startsWith("GNU.sparse.")) {', "if (false) {"],
    ["refuse a NUL in a path", 'if (text.includes("\\0"))', "if (false)"],
    ["limit what follows the end", "if (passed > MAX_TRAILING_BYTES)", "if (false)"],
    ["refuse a negative size", "if (size < 0)", "if (false)"],
  ]),
  ...inFile("worker/inflow.ts", "worker/transfers.test.ts", [
    ["keep a stream's order", "if (at !== this.#received) {", "if (false) {"],
    ["keep the window", "} else if (at + payload.length > this.#window) {", "} else if (false) {"],
    ["take nothing after the end", "} else if (this.#ended) {", "} else if (false) {"],
  ]),
  ...inFile("worker/outflow.ts", "worker/transfers.test.ts", [
    [
      "read no further ahead than the window",
      "await this.until(() => this.#made - this.#taken < STREAM_WINDOW_BYTES);",
      "this.check();",
    ],
    ["send no more than the client's window", "Math.min(this.#window, ", "Math.min(Infinity, "],
  ]),
  ...inFile("worker/flow.ts", "worker/transfers.test.ts", [
    [
      "give up who does not come again",
      'this.#timer = setTimeout(() => this.fail(streamError("STREAM_LOST", reason)), graceMs);',
      "void graceMs;",
    ],
    [
      "give up who does nothing",
      'else this.fail(streamError("TIMEOUT", `the client did nothing for ${idleMs} ms`));',
      "",
    ],
  ]),
  ...inFile("handlers/device.ts", "handlers/who-reads-what.test.ts", [
    ["clone the very device that was judged", "originUuid: judged.uuid, ", ""],
  ]),
  ...inFile("handlers/streams.ts", "handlers/who-reads-what.test.ts", [
    ["export the very device that was judged", ", originUuid: origin.uuid };", " };"],
  ]),
  ...inFile("handlers/device-verbs.ts", "handlers/who-reads-what.test.ts", [
    [
      "snapshot the very devices that were judged",
      "return { origin, originUuid, name,",
      "void originUuid; return { origin, name,",
    ],
    [
      "revert to what the caller may read only",
      'readable("device.revert", snapshot, principal)',
      'seen("device.revert", snapshot, principal)',
    ],
    [
      "revert to the very snapshot that was judged",
      "snapshot, snapshotUuid }",
      "snapshot, ...(snapshotUuid === name ? { snapshotUuid } : {}) }",
    ],
  ]),
  ...inFile("dispatch.ts", "turns-of-references.test.ts", [
    [
      "hold a foretold reference's call to its turn",
      "if (this.#turnOf(request) !== turn) return ANOTHER_TURN;",
      "",
    ],
  ]),
  ...inFile("dispatch.ts", "dispatch.test.ts", [
    ["share the engine's places among users", "isShared && uid !== 0 ?", "isShared && uid < 0 ?"],
    [
      "put few of a user's lists together at once",
      "LISTS.has(method)\n",
      "LISTS.has(method) && uid < 0\n",
    ],
    ["limit the lines about refused calls", "if (bounded === undefined) return;", ""],
    [
      "record what was made before a change without a key",
      "isChange ? keyed.unkeyed() : LOOK",
      "LOOK",
    ],
    ["put what was made on record in its turn", "work.made(outcome);", ""],
    [
      "answer a call that takes too long",
      "setTimeout(() => resolve(undefined), limitMs)",
      "setTimeout(() => undefined, limitMs)",
    ],
    [
      "never begin what was withdrawn",
      "if (caller.signal.aborted) {",
      "if (caller.connection < 0) {",
    ],
    [
      "limit the calls that outlive their time",
      " < MAX_OVERDUE_PER_UID) return;",
      " < Infinity) return;",
    ],
  ]),
  ...inFile("policy/mapped-limit.ts", "policy/mapped-limit.test.ts", [
    [
      "limit what a user's devices map",
      "more: sum(copies), limit }",
      "more: 0n, limit: undefined }",
    ],
    [
      "count what a clone maps at once",
      "measured === undefined ? 0n :",
      "measured !== undefined ? 0n :",
    ],
  ]),
  ...inFile("store-file.ts", "store-file.test.ts", [
    ["refuse a newer file", "if (found > schema.version) {", "if (found < 0) {"],
    [
      "sync what is waited for",
      "() => (this.#isClosed ? undefined : this.#wal.sync()),",
      "() => undefined,",
    ],
    ["sync no file that is closed", "this.#isClosed ? undefined : this", "this"],
    ["sync what a dead process left written", "    syncWal(path);\n", ""],
  ]),
  ...inFile("worker/spares.ts", "worker/worker-pool.test.ts", [
    [
      "let a dying spare wait longer each time",
      "last === 0 ? WORKER_FIRST_BACKOFF_MS : last * 2",
      "WORKER_FIRST_BACKOFF_MS",
    ],
    ["end the spares with the daemon", 'child.kill("SIGKILL");', ""],
  ]),
  ...inFile("worker/frames.ts", "worker/frames.test.ts", [
    ["limit a frame", " || length > this.#maxBytes", ""],
    ["check a frame's head", "headEnd > frame.length", "headEnd < 0"],
  ]),
  ...inFile("worker/privileges.ts", "worker/privileges.test.ts", [
    ["look for supplementary groups", '["Groups", ""],', ""],
    ["look for no_new_privs", '["NoNewPrivs", "1"],', ""],
    ["look at the bounding set", '"CapBnd", ', ""],
  ]),
  ...inFile("worker/worker-process.ts", "worker/worker-pool.test.ts", [
    ["empty the bounding set", '"--bounding-set=-all", ', ""],
    ["empty the environment", "env: {},", "env: process.env,"],
    ["forbid core files", '"--core=0", ', ""],
  ]),
  ...inFile("worker/confined-process.ts", "worker/worker-pool.test.ts", [
    ["look at a worker's privileges from outside", "assertUnprivileged(child.pid, identity);", ""],
    ["end a worker that does not read", "unread > WORKER_MAX_BACKLOG_BYTES", "unread < 0"],
    ["end a worker that takes too much memory", "rssBytes > WORKER_MAX_RSS_BYTES", "rssBytes < 0"],
  ]),
  ...inFile("worker/worker-pool.ts", "worker/worker-pool.test.ts", [
    ["reserve the uid of root's worker", "uid === rootIdentity.uid", "uid < 0"],
  ]),
  ...inFile("gateway/remote-access.ts", "gateway/remote-access.test.ts", [
    [
      "ask the policy about those who made their own token",
      "const allowed = creatorUid === 0 || ",
      "const allowed = creatorUid >= 0 || ",
    ],
    [
      "look at a token again after a wait",
      "!allowed || book.connectTokenById(id) === undefined",
      "!allowed",
    ],
    [
      "cut who does not go",
      "setTimeout(guest.cut, DISMISSAL_MS)",
      "setTimeout(() => undefined, 0)",
    ],
    [
      "limit what the network writes into the log",
      "!this.#notes.take(NOTES_PER_SECOND, performance.now())",
      "NOTES_PER_SECOND < 0",
    ],
  ]),
  ...inFile("gateway/gateway-process.ts", "gateway/gateway-process.test.ts", [
    [
      "check what the gateway says",
      "const checked = checkFromGateway(message);",
      "const checked = message as ReturnType<typeof checkFromGateway>;",
    ],
    ["limit the gateway's questions", "from.rest(OVERLOAD_REST_MS);", ""],
  ]),
  ...inFile("gateway/failures.ts", "gateway/failures.test.ts", [
    ["limit an address's failed tokens", "entry.blocked = nowMs + FAILED_TOKENS_BLOCK_MS;", ""],
    [
      "count an IPv6 address with its network",
      "if (!isIPv6(address)) return address;",
      "return address;",
    ],
    ["bound the addresses", "this.#meters.delete(oldest);", ""],
  ]),
  ...inFile("references/records.ts", "references/lasting.test.ts", [
    ["sync a mount's record", "await this.#store.lasting();", ""],
    ["take back what may not last", "else this.#set(before);", ""],
  ]),
  ...inFile("references/steps.ts", "references/lasting.test.ts", [
    [
      "sync a mount's record before the mount",
      "await this.#parts.records.save(record);",
      "void this.#parts.records.save(record);",
    ],
    [
      "sync a mount before it is told of",
      "await records.save(confirmed);",
      "void records.save(confirmed);",
    ],
    [
      "sync that it is being unmounted before it is",
      "await this.#parts.records.save(withdrawn);",
      "void this.#parts.records.save(withdrawn);",
    ],
    [
      "sync that a mount stays before its holder is told",
      "await records.save(refused(record));",
      "void records.save(refused(record));",
    ],
    [
      "sync that a half-done mount is being undone",
      "await records.save(leaving);",
      "void records.save(leaving);",
    ],
    [
      "sync that a mount was adopted",
      "await records.save(confirm(record",
      "void records.save(confirm(record",
    ],
    [
      "sync that a lost mount's holders have lost it",
      "if (references > 0) await records",
      "if (references > 0) void records",
    ],
    [
      "sync that only a device's deactivation is left",
      "await records.save(unmounted(record));\n        return;",
      "void records.save(unmounted(record));\n        return;",
    ],
    [
      "sync that a mount is to be made again",
      "await records.save(record);\n    await this",
      "void records.save(record);\n    await this",
    ],
  ]),
  ...inFile("references/mount-service.ts", "references/lasting.test.ts", [
    [
      "sync a further reference",
      '=== "share") await records.save(record);',
      '=== "share") void records.save(record);',
    ],
    [
      "sync a release before the unmount and the answer",
      "await records.save(released.record);",
      "void records.save(released.record);",
    ],
    [
      "sync who holds a reference that is asked for again",
      "await records.save(again);",
      "void records.save(again);",
    ],
    ["sync a renewed lease", "await records.save(changed);", "void records.save(changed);"],
    [
      "sync the end of references",
      "await records.save(over.record);",
      "void records.save(over.record);",
    ],
    [
      "sync a lease's end on another boot's clock",
      "if (moved) await records",
      "if (moved) void records",
    ],
  ]),
  ...inFile("references/ephemerals.ts", "references/lasting.test.ts", [
    [
      "sync an ephemeral clone's record before the clone",
      "await store.lasting();\n      const device",
      "const device",
    ],
    ["sync that a clone stays", "await store.lasting();\n    // Removed", "// Removed"],
    [
      "record the uuid that an ephemeral clone is to get",
      "deviceUuid: uuid, session });",
      "deviceUuid: undefined, session });",
    ],
  ]),
  ...inFile("mounts/block-nodes.ts", "references/mount-service.test.ts", [
    [
      "take block devices away that no record knows",
      "if (!known.has(path) && (await this.takeBack(path))) swept.push(path);",
      "if (!known.has(path)) swept.push(path);",
    ],
    ["keep block devices that a record knows", "!known.has(path) && ", ""],
    [
      "keep a pool's block devices apart from other pools'",
      "this.#folder = join(root, poolUuid);",
      "this.#folder = poolUuid === '' ? poolUuid : root;",
    ],
  ]),
  ...inFile("policy/rights.ts", "policy/rights.test.ts", [
    ["keep users' devices from being images", "if (ownerUid !== 0) return false;", ""],
    ["keep everybody from acting for root", " || object.uid === 0", ""],
    ["ask whom a rule is about", "concerns(candidate, who) && ", ""],
  ]),
  ...inFile("policy/policy.ts", "policy/policy.test.ts", [
    [
      "refuse to start with a method without a policy",
      "if (missing.length > 0) throw",
      "if (missing.length < 0) throw",
    ],
    ["hide what the caller may not see", "if (!sees.allowed) return missing;", ""],
    [
      "keep references to their holders",
      "holder !== undefined && principal.uid === holder",
      "holder !== undefined",
    ],
  ]),
  ...inFile("policy/access.ts", "daemon.test.ts", [
    ["ask for the right to act for another", "if (!allowed) {", "if (allowed === undefined) {"],
  ]),
  ...inFile("policy/rights-store.ts", "policy/rights-book.test.ts", [
    ["tell of no token that may be gone or not", "this.#file.assertSound();", ""],
  ]),
  ...inFile("policy/policy-file.ts", "policy/policy-file.test.ts", [
    ["refuse a policy file that others can write", "assertOnlyRootWrites(path, path, stats);", ""],
    [
      "refuse one whose folder others can write",
      "assertOnlyRootWrites(path, folder, await stat(folder));",
      "",
    ],
    ["refuse one that is a link", " | constants.O_NOFOLLOW", ""],
  ]),
  ...inFile("policy/rights-book.ts", "policy/rights-book.test.ts", [
    ["end tokens by their time", " || token.expiresAtMs <= Date.now())", ")"],
    ["end tokens to connect by by their time", " || token.expiresAtMs <= Date.now() ?", " ?"],
    ["bind tokens to their device", "token.deviceUuid !== deviceUuid || ", ""],
    ["bind tokens to their verbs", " || !token.allow.includes(verb)", ""],
    [
      "bind tokens to their user",
      "token.uid === undefined || token.uid === uid ? token : undefined",
      "token",
    ],
    [
      "keep only a token's hash",
      'createHash("sha256").update(secret).digest()',
      "Buffer.from(secret)",
    ],
    ["end tokens by revocation", "this.#store.removeToken(id);", ""],
    [
      "sync a token before its secret is told",
      "hashOf(secret));\n    await this.#store.lasting();",
      "hashOf(secret));",
    ],
    [
      "sync a token to connect by before its secret is told",
      "secretHash });\n    await this.#store.lasting();",
      "secretHash });",
    ],
    [
      "sync a revocation",
      "this.#connect.delete(id);\n    await this.#store.lasting();",
      "this.#connect.delete(id);",
    ],
    ["sync that a device is public", "try {\n      await this.#store.lasting();", "try {"],
    [
      "take back what may not be public",
      "this.#public.delete(deviceUuid);\n      throw error;",
      "throw error;",
    ],
    ["limit a user's tokens", "held.length >= MAX_TOKENS_PER_UID", "held.length < 0"],
    [
      "end tokens to connect by at their time",
      "token === undefined || token.expiresAtMs <= Date.now() ? undefined : token",
      "token",
    ],
    ["limit the tokens to connect by", "all.length >= MAX_CONNECT_TOKENS", "all.length < 0"],
  ]),
];
