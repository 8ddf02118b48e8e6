/**
 * Arguments that several commands have. By their names completion knows what to offer: `device` and
 * `origin` are devices that exist, `name` is one that does not yet.
 */
import { Args } from "@oclif/core";

export const deviceArg = Args.string({
  description: "Name of the device.",
  required: true,
});

export const originArg = Args.string({
  description: "The device to start from.",
  required: true,
});

export const newNameArg = Args.string({
  description: "Name of the new device.",
  required: true,
});
