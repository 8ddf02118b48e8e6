export { ChangeWatch } from "./changes.ts";
export {
  type ErrnoName,
  SimCrash,
  type SimCall,
  type SimFault,
  type SimListener,
} from "./faults.ts";
export type { SimFilesystemType } from "./filesystem.ts";
export { createSimKernel, SimKernel, type SimKernelOptions } from "./sim-kernel.ts";
export { type PoolMode } from "./thin-pool.ts";
