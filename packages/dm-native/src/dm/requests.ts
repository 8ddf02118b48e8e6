/** The requests that single commands and runs have in common. */
import { NativeError } from "../errors.ts";
import { mangle } from "../names.ts";
import type { DmName, DmUuid } from "../names.ts";
import { sectors } from "../units.ts";
import type { Sectors } from "../units.ts";
import type { DmDeviceRef, DmStep, DmTarget } from "./device-mapper.ts";
import { DM_FLAG } from "./header.ts";
import { describeRef } from "./ioctl-funnel.ts";
import type { DmRequest } from "./ioctl-funnel.ts";
import { encodeMessage, encodeTable } from "./table-codec.ts";

/** The control node's own name in /dev/mapper. */
const RESERVED_NAME = "control";

export function createRequest(name: DmName, uuid: DmUuid | undefined): DmRequest {
  checkNotReserved("DM_DEV_CREATE", name);
  return {
    command: "DM_DEV_CREATE",
    object: name,
    rawName: mangle(name),
    ...(uuid === undefined ? {} : { rawUuid: mangle(uuid) }),
  };
}

export function loadRequest(
  device: DmDeviceRef,
  table: readonly DmTarget[],
  readOnly: boolean,
): DmRequest {
  return {
    command: "DM_TABLE_LOAD",
    device,
    flags: readOnly ? DM_FLAG.READONLY : 0,
    targetCount: table.length,
    payload: encodeTable(table),
  };
}

export function messageRequest(device: DmDeviceRef, text: string, sector: Sectors): DmRequest {
  return {
    command: "DM_TARGET_MSG",
    object: `${describeRef(device)} (${text})`,
    device,
    payload: encodeMessage(sector, text),
  };
}

/** `cookie` is udev's, 0 without. */
export function requestOf(step: DmStep, cookie: number): DmRequest {
  switch (step.command) {
    case "create":
      return createRequest(step.name, step.uuid);
    case "load":
      return loadRequest(step.device, step.table, step.readOnly === true);
    case "resume":
      return { command: "DM_DEV_RESUME", device: step.device, eventNr: cookie };
    default: // "message"
      return messageRequest(step.device, step.text, sectors(0));
  }
}

export function checkNotReserved(operation: string, name: DmName): void {
  if (name !== RESERVED_NAME) return;
  throw new NativeError({
    code: "NATIVE_INVALID",
    operation,
    object: name,
    reason: "this is the name of the control node",
    hint: "Choose another name.",
  });
}
