/** The programs that the engine calls, with their versions. */
import { execFile } from "node:child_process";
import { access, constants } from "node:fs/promises";
import type { Finding } from "./finding.ts";

/** Each answers its version at once; one that hangs is as good as missing. */
const VERSION_TIMEOUT_MS = 5_000;
const FOLDERS = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

interface Tool {
  readonly program: string;
  /** Debian's name; other distributions' are the same but for case. */
  readonly package: string;
  readonly needed: boolean;
  readonly versionFlag: string;
  /** What a pool does without it. */
  readonly use: string;
}

const TOOLS: readonly Tool[] = [
  {
    program: "mkfs.ext4",
    package: "e2fsprogs",
    needed: true,
    versionFlag: "-V",
    use: "makes ext4",
  },
  { program: "resize2fs", package: "e2fsprogs", needed: false, versionFlag: "", use: "grows ext4" },
  { program: "mkfs.xfs", package: "xfsprogs", needed: false, versionFlag: "-V", use: "makes xfs" },
  {
    program: "xfs_growfs",
    package: "xfsprogs",
    needed: false,
    versionFlag: "-V",
    use: "grows xfs",
  },
  ...(
    [
      ["thin_check", true, "checks a pool after an unclean stop"],
      ["thin_repair", false, "repairs a pool"],
      ["thin_dump", false, "backs metadata up"],
      ["thin_restore", false, "puts metadata back"],
      ["thin_ls", false, "tells what each device takes"],
      ["thin_delta", false, "finds changed blocks"],
    ] as const
  ).map(([program, needed, use]) => ({
    program,
    package: "thin-provisioning-tools",
    needed,
    versionFlag: "-V",
    use,
  })),
];

export async function tools(): Promise<readonly Finding[]> {
  return await Promise.all(TOOLS.map(examine));
}

async function examine(tool: Tool): Promise<Finding> {
  const { program, needed, use } = tool;
  const path = await find(program);
  if (path !== undefined) {
    const version = tool.versionFlag === "" ? "" : await versionOf(path, tool.versionFlag);
    return { topic: program, state: "ok", needed, found: [path, version].join(" ").trim() };
  }
  return {
    topic: program,
    state: "lacking",
    needed,
    found: `it is not installed; it ${use}`,
    mend: `apt-get install ${tool.package}`,
  };
}

async function find(program: string): Promise<string | undefined> {
  for (const folder of FOLDERS) {
    const path = `${folder}/${program}`;
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      // Not here: the next folder.
    }
  }
  return undefined;
}

/** The first version number of what it prints; e2fsprogs' tools print it on stderr. */
function versionOf(path: string, flag: string): Promise<string> {
  return new Promise((resolve) => {
    execFile(path, [flag], { env: {}, timeout: VERSION_TIMEOUT_MS }, (_error, stdout, stderr) => {
      resolve(/\d+(?:\.\d+)+/.exec(`${stdout}\n${stderr}`)?.[0] ?? "");
    });
  });
}
