import type { Engine } from "../engine.ts";
import { PoolError } from "../errors.ts";
import { poolErrorFrom } from "../errors-from-native.ts";
import { checkFileSizes, checkPoolSizes } from "../options.ts";

export interface ExtendOptions {
  /** How large the data shall be. Block devices: not given, as large as its device. */
  readonly dataBytes?: bigint;
  readonly metadataBytes?: bigint;
}

export interface ExtendResult {
  readonly outcome: "extended" | "already-so";
  readonly dataBytes: bigint;
  readonly metadataBytes: bigint;
}

/**
 * Metadata first: what grows the data needs it. POOL_NEEDS_CHECK where the kernel would ignore it. A
 * pool that is out of space goes on with what it holds back. A crash in between leaves the old or the
 * new size.
 */
export async function extend(engine: Engine, options: ExtendOptions): Promise<ExtendResult> {
  const { folder } = engine;
  engine.assertWritable("extension", folder);
  const wanted =
    engine.poolRecord.backing === "files" ? options : await wholeDevices(engine, options);
  const { dataBytes, metadataBytes } = engine.poolRecord;
  const sizes = {
    dataBytes: wanted.dataBytes ?? dataBytes,
    metadataBytes: wanted.metadataBytes ?? metadataBytes,
  };
  if (options.dataBytes === undefined && options.metadataBytes === undefined) {
    refuseNothing(engine);
  }
  checkPoolSizes(sizes.dataBytes, sizes.metadataBytes, engine.poolRecord.blockSectors);
  if (engine.poolRecord.backing === "files") checkFileSizes(sizes.dataBytes, sizes.metadataBytes);
  if (wanted.metadataBytes !== undefined) {
    await engine.space.extend("metadata", wanted.metadataBytes);
  }
  if (wanted.dataBytes !== undefined) await engine.space.extend("data", wanted.dataBytes);
  const now = engine.poolRecord;
  return {
    outcome:
      now.dataBytes > dataBytes || now.metadataBytes > metadataBytes ? "extended" : "already-so",
    dataBytes: now.dataBytes,
    metadataBytes: now.metadataBytes,
  };
}

async function wholeDevices(engine: Engine, options: ExtendOptions): Promise<ExtendOptions> {
  const { poolRecord: record } = engine;
  const dataBytes = await sizeOf(engine, record.dataPath);
  const metadataBytes = await sizeOf(engine, record.metadataPath);
  refuseLonger(record.dataPath, options.dataBytes, dataBytes);
  refuseLonger(record.metadataPath, options.metadataBytes, metadataBytes);
  return {
    dataBytes: options.dataBytes ?? dataBytes,
    metadataBytes: options.metadataBytes ?? metadataBytes,
  };
}

async function sizeOf({ kernel, folder }: Engine, path: string): Promise<bigint> {
  try {
    return await kernel.blocks.sizeBytes(path);
  } catch (error) {
    throw poolErrorFrom(error, { operation: "extension", object: folder });
  }
}

function refuseLonger(path: string, wanted: bigint | undefined, has: bigint): void {
  if (wanted === undefined || wanted <= has) return;
  throw new PoolError({
    code: "POOL_OPTION_INVALID",
    operation: "extension",
    object: path,
    reason: `the device has ${has} bytes, not ${wanted}`,
    hint: "Make the device larger first (lvextend, or the hypervisor's own way).",
  });
}

function refuseNothing(engine: Engine): void {
  if (engine.poolRecord.backing !== "files") return;
  throw new PoolError({
    code: "POOL_OPTION_INVALID",
    operation: "extension",
    object: engine.folder,
    reason: "no size is given",
    hint: "Say how large the data shall be, or the metadata, or both.",
  });
}
