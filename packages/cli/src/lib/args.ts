/**
 * Arguments that several commands have. By their names completion knows what to offer: `device`,
 * `origin` and `older` are devices that exist, `name` is one that does not yet.
 */
import { Args } from "@oclif/core";
import { parseSize } from "./size.ts";

export const deviceArg = Args.string({
  description: "Name of the device.",
  required: true,
});

export const originArg = Args.string({
  description: "The device to start from.",
  required: true,
});

export const olderArg = Args.string({
  description: "The older device to compare with.",
  required: true,
});

export const newNameArg = Args.string({
  description: "Name of the new device.",
  required: true,
});

export const imageArg = Args.string({
  description: "Name of the image.",
  required: true,
});

/** A reference of one's own, or the device that it is to. */
export const referenceArg = Args.string({
  name: "DEVICE|REFERENCE",
  description: "The device's name, or the reference that `mounts` shows.",
  required: true,
});

/** "20GiB" to bytes. */
export const newSizeArg = Args.custom<bigint>({ parse: async (text) => parseSize(text) })({
  description: "Its size afterwards, for example 20GiB.",
  required: true,
});
