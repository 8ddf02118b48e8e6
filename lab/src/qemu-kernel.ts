import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { findProgram, runProgram } from "./commands.ts";
import { LabError } from "./lab-error.ts";
import { guestModules } from "./machine.ts";
import { updateLists } from "./package-lists.ts";
import { cacheFolder } from "./places.ts";

/** Debian's kernel, unpacked in the cache, not installed. */
export interface UnpackedKernel {
  /** Has lib/modules/VERSION, as `modprobe -d` wants it. */
  readonly folder: string;
  readonly version: string;
  readonly image: string;
  readonly initrd: string;
}

/** Depends on the newest 6.12 kernel that the machine's Debian has. */
const metaPackage = "linux-image-6.12-amd64";
/** Changes with what is put into the initrd, so that an old one in the cache is not used. */
const initrdName = "lab-initrd-2.img";

/** What mounting the host's root needs. */
const rootModules = ["9pnet_virtio", "9p"];
/** What the guest loads once it has the host's root. */
export const guestModulesOfQemu: readonly string[] = [
  "virtio_console",
  "virtio_blk",
  "virtio_rng",
  ...guestModules,
];
/** Loaded by the kernel itself at the first mount: emulated, xfs takes three seconds. */
const filesystemModules = ["ext4", "xfs"];
const qemuModules = [...rootModules, ...guestModulesOfQemu, ...filesystemModules];

/** The kernel in the cache; undefined where there is none yet. */
export function cachedKernel(): UnpackedKernel | undefined {
  const cache = cacheFolder();
  if (!existsSync(cache)) return undefined;
  const folder = readdirSync(cache)
    .filter((name) => /^kernel-\d/.test(name))
    .toSorted((a, b) => a.localeCompare(b, "en", { numeric: true }))
    .at(-1);
  if (folder === undefined) return undefined;
  const version = folder.slice("kernel-".length);
  const path = join(cache, folder);
  const kernel = {
    folder: path,
    version,
    image: join(path, "boot", `vmlinuz-${version}`),
    initrd: join(path, initrdName),
  };
  return existsSync(kernel.initrd) ? kernel : undefined;
}

/** The kernel, from the cache or else from Debian's archive. Needs no root, only apt's lists. */
export function prepareKernel(say: (line: string) => void): UnpackedKernel {
  return cachedKernel() ?? fetchKernel(say);
}

function fetchKernel(say: (line: string) => void): UnpackedKernel {
  const name = newestPackage() ?? (updateLists(say), newestPackage());
  if (name === undefined)
    throw new LabError(
      `apt knows no ${metaPackage}`,
      "qemu's kernel needs Debian 12 with bookworm-security among its sources, or a newer Debian",
    );
  const version = name.slice("linux-image-".length);
  mkdirSync(cacheFolder(), { recursive: true });
  // Beside its final place: a rename makes it appear whole or not at all.
  const work = mkdtempSync(join(cacheFolder(), "unpacking-"));
  try {
    say(`downloading ${name} (about 107 MB) into ${cacheFolder()}`);
    try {
      runProgram("apt-get", ["-qq", "download", name], { cwd: work });
    } catch (error) {
      if (!(error instanceof LabError)) throw error;
      // Old lists name versions that the archive no longer has.
      updateLists(say);
      runProgram("apt-get", ["-qq", "download", name], { cwd: work });
    }
    const archive = readdirSync(work).find((file) => file.endsWith(".deb"));
    if (archive === undefined) throw new LabError(`apt-get download gave no file for ${name}`);
    const tree = join(work, "tree");
    runProgram("dpkg-deb", ["-x", join(work, archive), tree]);
    // Debian 13 and later have /lib as a link to /usr/lib.
    if (!existsSync(join(tree, "lib"))) renameSync(join(tree, "usr/lib"), join(tree, "lib"));
    runProgram("depmod", ["-b", tree, version]);
    unpackModules(tree, version);
    buildInitrd(tree, version, join(work, "initrd"));
    const final = join(cacheFolder(), `kernel-${version}`);
    rmSync(final, { recursive: true, force: true });
    renameSync(tree, final);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  const kernel = cachedKernel();
  if (kernel === undefined) throw new LabError("the unpacked kernel is gone again");
  return kernel;
}

function newestPackage(): string | undefined {
  try {
    const text = runProgram("apt-cache", ["depends", metaPackage]).toString("utf8");
    return /Depends: (linux-image-6\.12\.[\w.+~-]+-amd64)$/m.exec(text)?.[1];
  } catch (error) {
    if (error instanceof LabError) return undefined;
    throw error;
  }
}

/** Emulated, unpacking these at every boot would take longer than all the rest of the boot. */
function unpackModules(tree: string, version: string): void {
  const packed = moduleFiles(tree, version, qemuModules).filter((path) => path.endsWith(".xz"));
  if (packed.length === 0) return;
  runProgram("xz", ["-d", ...packed]);
  runProgram("depmod", ["-b", tree, version]);
}

/** Paths of the modules and all that they depend on, in the order of loading. */
function moduleFiles(tree: string, version: string, modules: readonly string[]): string[] {
  const args = ["-d", tree, "-S", version, "-a", "--show-depends", ...modules];
  const lines = runProgram("modprobe", args).toString("utf8");
  const paths = [...lines.matchAll(/^insmod (\S+)/gm)].map(([, path]) => path ?? "");
  return [...new Set(paths)];
}

/** busybox and the modules of 9p: all that is needed to mount the host's root. */
function buildInitrd(tree: string, version: string, work: string): void {
  for (const folder of ["bin", "dev", "proc", "root", "modules"])
    mkdirSync(join(work, folder), { recursive: true });
  const busybox = findProgram("busybox");
  if (busybox === undefined) throw new LabError("busybox is missing");
  copyFileSync(busybox, join(work, "bin/busybox"));
  const modules = moduleFiles(tree, version, rootModules);
  for (const path of modules) copyFileSync(path, join(work, "modules", basename(path)));
  const order = modules.map((path) => basename(path));
  writeFileSync(join(work, "init"), initrdScript(order), { mode: 0o755 });
  const list = runProgram("find", [".", "-print0"], { cwd: work }).toString("utf8");
  const image = runProgram("cpio", ["--null", "--create", "--format=newc", "--quiet"], {
    cwd: work,
    input: list,
  });
  writeFileSync(join(tree, initrdName), image);
}

/** The kernel hands `labinit=PATH` of its command line over as a variable. */
function initrdScript(modules: readonly string[]): string {
  return `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for module in ${modules.join(" ")}; do
  /bin/busybox insmod /modules/$module || echo "lab: cannot load $module"
done
/bin/busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=524288,cache=loose root /root ||
  echo "lab: cannot mount the host's root"
/bin/busybox umount /proc
/bin/busybox umount /dev
exec /bin/busybox switch_root /root "$labinit"
`;
}
