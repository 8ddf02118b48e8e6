/** The kernel, and pools, for the commands that work on them without a daemon. */
import type { Kernel, ThinPool } from "@thinpool/thinpool";

type OpenKernel = () => Promise<Kernel & AsyncDisposable>;

let openKernel: OpenKernel = async () => {
  const { linuxKernel } = await import("@thinpool/thinpool");
  return linuxKernel();
};

/** For tests: a simulated one in its place. */
export function replaceKernel(open: OpenKernel): void {
  openKernel = open;
}

export async function withKernel<Result>(
  work: (kernel: Kernel) => Promise<Result>,
): Promise<Result> {
  await using kernel = await openKernel();
  return await work(kernel);
}

/** Opens the pool, and takes it down again unless a device of it is active: then it stays as it is. */
export function withPool<Result>(
  folder: string,
  work: (pool: ThinPool) => Promise<Result>,
): Promise<Result> {
  return withKernel(async (kernel) => {
    const { openPool } = await import("@thinpool/thinpool");
    const pool = await openPool({ folder, kernel, monitor: false });
    try {
      return await work(pool);
    } finally {
      const { activeCount } = await pool.status();
      await (activeCount === 0 ? pool.close() : pool.detach());
    }
  });
}
