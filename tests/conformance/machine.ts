/** What a conformance case may use, be the kernel real or simulated. */
import { truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type {
  DeviceMapper,
  DmDeviceInfo,
  DmName,
  DmTarget,
  LoopDevices,
  LoopStatus,
} from "@thinpool/dm-native";
import { dmName, NativeError, sectors } from "@thinpool/dm-native";
import type { MetadataTools } from "@thinpool/thinpool";

export interface ConformanceKernel {
  readonly dm: DeviceMapper;
  readonly loops: LoopDevices;
  readonly tools: MetadataTools;
  /** Writable, empty, the case's own. */
  readonly folder: string;
  /** In the name of every dm device that a case makes. */
  readonly suffix: string;
  /** Offsets and lengths are multiples of 4096; a write has reached the device when it returns. */
  read(path: string, offsetBytes: number, lengthBytes: number): Promise<Buffer>;
  write(path: string, offsetBytes: number, bytes: Buffer): Promise<void>;
  discard(path: string, offsetBytes: number, lengthBytes: number): Promise<void>;
  flush(path: string): Promise<void>;
  /** Has the device open until the returned function has ended. */
  hold(path: string): Promise<() => Promise<void>>;
}

export const MIB: number = 1 << 20;
export const BLOCK_SECTORS = 128;
export const BLOCK_BYTES: number = BLOCK_SECTORS * 512;
export const DATA_BYTES: number = 64 * MIB;
export const METADATA_BYTES: number = 8 * MIB;
export const THIN_SECTORS: number = (10 * MIB) / 512;

export function line(type: string, params: string, length = 2048, start = 0): DmTarget {
  return { startSectors: sectors(start), lengthSectors: sectors(length), type, params };
}

/** The loops and devices that a case makes, by short names; all go at its end. */
export class Bench {
  readonly kernel: ConformanceKernel;
  data!: LoopStatus;
  metadata!: LoopStatus;

  constructor(kernel: ConformanceKernel) {
    this.kernel = kernel;
  }

  get dm(): DeviceMapper {
    return this.kernel.dm;
  }

  async loop(
    file: string,
    sizeBytes: number,
    options: { readonly readOnly?: boolean } = {},
  ): Promise<LoopStatus> {
    const backingFile = join(this.kernel.folder, file);
    await writeFile(backingFile, "", { flag: "wx" });
    await truncate(backingFile, sizeBytes);
    return this.kernel.loops.attach({ backingFile, ...options });
  }

  async attach(): Promise<void> {
    this.metadata = await this.loop("metadata", METADATA_BYTES);
    this.data = await this.loop("data", DATA_BYTES);
  }

  name(short: string): DmName {
    return dmName(`${short}-${this.kernel.suffix}`);
  }

  ref(short: string): { readonly name: DmName } {
    return { name: this.name(short) };
  }

  path(short: string): string {
    return `/dev/mapper/${this.name(short)}`;
  }

  /** Create, load, resume; what fails takes the device with it. */
  async make(short: string, ...table: readonly DmTarget[]): Promise<DmDeviceInfo> {
    await this.dm.createDevice(this.name(short));
    try {
      await this.dm.loadTable(this.ref(short), table);
      return await this.dm.resume(this.ref(short));
    } catch (error) {
      await this.dm.removeDevice(this.ref(short));
      throw error;
    }
  }

  poolLine(rest = "0", lengthSectors: number = DATA_BYTES / 512, lowWater = 100): DmTarget {
    const params = `${this.metadata.path} ${this.data.path} ${BLOCK_SECTORS} ${lowWater} ${rest}`;
    return line("thin-pool", params, lengthSectors);
  }

  pool(rest = "0"): Promise<DmDeviceInfo> {
    return this.make("pool", this.poolLine(rest));
  }

  thin(id: number, lengthSectors: number = THIN_SECTORS): Promise<DmDeviceInfo> {
    return this.make(`thin${id}`, line("thin", `${this.path("pool")} ${id}`, lengthSectors));
  }

  message(text: string): Promise<string | undefined> {
    return this.dm.message(this.ref("pool"), text);
  }

  async status(short = "pool"): Promise<string> {
    return (await this.dm.tableStatus(this.ref(short))).targets[0]?.params ?? "";
  }

  /** USED of the data in the pool's status. */
  async dataUsed(): Promise<number> {
    return Number((await this.status()).split(" ")[2]?.split("/")[0]);
  }

  async reload(table: DmTarget): Promise<void> {
    await this.dm.loadTable(this.ref("pool"), [table]);
    await this.dm.suspend(this.ref("pool"));
    await this.dm.resume(this.ref("pool"));
  }

  async removePool(): Promise<void> {
    await this.dm.removeDevice(this.ref("pool"));
  }

  /** Takes down what the case left: thin devices first, by trying again while something goes. */
  async tearDown(): Promise<void> {
    let gone = true;
    while (gone) {
      gone = false;
      for (const { name } of await this.dm.listDevices()) {
        if (!name.endsWith(this.kernel.suffix)) continue;
        try {
          await this.dm.removeDevice({ name });
          gone = true;
        } catch (error) {
          if (!(error instanceof NativeError && error.code === "NATIVE_BUSY")) throw error;
        }
      }
    }
    for (const loop of await this.kernel.loops.list()) {
      if (loop.backingFile.startsWith(`${this.kernel.folder}/`)) {
        await this.kernel.loops.detach(loop.path);
      }
    }
  }
}

export type Case = readonly [name: string, run: (bench: Bench) => Promise<void>];

/** For assert.rejects: the code and the errno. */
export function refused(code: string, errnoName: string): (error: unknown) => boolean {
  return (error) => {
    if (error instanceof NativeError && error.code === code && error.errnoName === errnoName) {
      return true;
    }
    throw error;
  };
}
