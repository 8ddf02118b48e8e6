import Umount from "../umount.ts";

export default class DeviceDeactivate extends Umount {
  static override summary = "Release one reference to a device that is a block device of yours.";
  static override description =
    "With the last reference the block device goes, unless a program has it open. Given a device's name, the last of your own references to it is released.";
  protected override readonly operation = "device deactivate";
  protected override readonly ended = "deactivated";
}
