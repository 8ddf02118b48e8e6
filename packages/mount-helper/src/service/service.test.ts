import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { installService, serviceStatus, uninstallService } from "./install.ts";
import { inheritedSocket } from "./listen-fds.ts";
import { ServiceManager } from "./notify.ts";
import type { UnitOptions } from "./units.ts";
import { unitFiles } from "./units.ts";

const ANALYZE = "/usr/bin/systemd-analyze";
const OPTIONS: UnitOptions = {
  folder: "/var/lib/thin pool/100%",
  socketPath: "/run/thinpool/thinpool.sock",
  socketGroup: "thinpool",
  program: [process.execPath, "/usr/lib/thinpoold/main.js"],
  metrics: "/run/thinpool/metrics.sock",
};

test("no directive gives the service a mount namespace: its mounts are for all to see", () => {
  const { service } = unitFiles(OPTIONS);
  const own =
    /^(Private\w+|ProtectSystem|ProtectHome|ProtectKernel\w+|ProtectControlGroups|ProtectProc|ProcSubset|Read\w+Paths|Bind\w*Paths|InaccessiblePaths|TemporaryFileSystem|MountFlags|Root\w+|RuntimeDirectory|DynamicUser)=/m;
  assert.doesNotMatch(service, own);
  for (const line of ["Type=notify", "NoNewPrivileges=yes", "IPAddressDeny=any"]) {
    assert.ok(service.split("\n").includes(line), line);
  }
  assert.ok(!service.includes("AF_INET"));
  assert.match(unitFiles({ ...OPTIONS, metrics: "9464" }).service, /AF_UNIX AF_INET\n/);
  assert.ok(service.includes('--folder "/var/lib/thin pool/100%%"'));
});

test("network clients need addresses, an account for the gateway, and no more", () => {
  const tcp = {
    address: { host: "::", port: 7474 },
    certificateFile: "/etc/thinpool/tls.pem",
    keyFile: "/etc/thinpool/tls.key",
    origins: ["https://ci.example.org"],
  };
  const { service, sysusers } = unitFiles({ ...OPTIONS, tcp });
  assert.match(
    service,
    /--tcp "\[::\]:7474" --tls-certificate \S+\.pem --tls-key \S+\.key --tcp-origin https:\S+org\n/,
  );
  assert.match(service, /^RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6$/m);
  assert.doesNotMatch(service, /IPAddress|CAP_NET/);
  assert.match(sysusers, /^g thinpool -$/m);
  assert.match(sysusers, /^u thinpool-gateway - "/m);
  assert.doesNotMatch(unitFiles(OPTIONS).sysusers, /^u /m);
  const low = { ...tcp, address: { host: "0.0.0.0", port: 443 } };
  assert.match(unitFiles({ ...OPTIONS, tcp: low }).service, /CAP_NET_BIND_SERVICE\n/);
  for (const bad of [{ keyFile: "tls.key" }, { origins: ["https://a\nUser=root"] }]) {
    assert.throws(() => unitFiles({ ...OPTIONS, tcp: { ...tcp, ...bad } }), {
      code: "OPTION_INVALID",
    });
  }
});

test("what could become another directive, or is no path, is refused", () => {
  const bad: readonly Partial<UnitOptions>[] = [
    { folder: "/var\nExecStartPre=/bin/sh" },
    { folder: "relative" },
    { socketPath: "x.sock" },
    { socketGroup: "users root" },
    { program: ["node"] },
  ];
  for (const part of bad) {
    assert.throws(() => unitFiles({ ...OPTIONS, ...part }), { code: "OPTION_INVALID" });
  }
});

test("installed below a folder, asked about, and removed without a trace", async (t) => {
  const root = await mkdtemp(join(tmpdir(), "thinpool-service-"));
  t.after(() => rm(root, { recursive: true }));
  assert.deepEqual(await serviceStatus({ root }), {
    installed: false,
    service: undefined,
    socket: undefined,
  });
  const files = await installService(OPTIONS, { root });
  assert.deepEqual(await installService(OPTIONS, { root }), files);
  assert.equal((await serviceStatus({ root })).installed, true);
  const { service } = unitFiles(OPTIONS);
  assert.equal(await readFile(join(root, "etc/systemd/system/thinpoold.service"), "utf8"), service);
  assert.deepEqual(await uninstallService({ root }), files);
  assert.deepEqual(await uninstallService({ root }), []);
  assert.deepEqual(await readdir(join(root, "etc/systemd/system")), []);
});

test(
  "systemd itself finds nothing wrong with the units",
  { skip: existsSync(ANALYZE) ? false : "this machine has no systemd-analyze" },
  async (t) => {
    const root = await mkdtemp(join(tmpdir(), "thinpool-units-"));
    t.after(() => rm(root, { recursive: true }));
    const program = join(root, "thinpoold");
    await writeFile(program, "#!/bin/sh\n", { mode: 0o755 });
    const address = { host: "0.0.0.0", port: 443 };
    const tcp = { address, certificateFile: "/tls.pem", keyFile: "/tls.key", origins: [] };
    const options = { ...OPTIONS, program: [program], tcp };
    const files = (await installService(options, { root })).filter(
      (path) => !path.endsWith("conf"),
    );
    const { stderr } = await promisify(execFile)(ANALYZE, ["verify", ...files]);
    assert.equal(stderr, "");
  },
);

test("what systemd said to the daemon is not passed on to its children", async () => {
  const events: string[] = [];
  const environment: NodeJS.ProcessEnv = {
    NOTIFY_SOCKET: join(tmpdir(), "thinpool-no-such-socket"),
    WATCHDOG_USEC: "3000000",
    LISTEN_PID: "1",
    LISTEN_FDS: "1",
    LISTEN_FDNAMES: "x",
    PATH: "/bin",
  };
  const manager = new ServiceManager(environment, {
    log: (_level, event) => void events.push(event),
  });
  assert.equal(inheritedSocket(environment, "/run/s"), undefined, "another process was meant");
  assert.deepEqual(environment, { PATH: "/bin" });
  await manager.ready();
  await manager.stopping();
  manager.stopped();
  // Nobody listens: said in the log, and no reason to fail.
  assert.deepEqual(events, ["service-manager-not-told", "service-manager-not-told"]);
});

test("a descriptor that is no listening socket at the daemon's path stops the start", () => {
  for (const LISTEN_FDS of ["0", "1", "2"]) {
    const environment = { LISTEN_PID: String(process.pid), LISTEN_FDS };
    assert.throws(() => inheritedSocket(environment, "/run/s"), { code: "OPTION_INVALID" });
  }
});
