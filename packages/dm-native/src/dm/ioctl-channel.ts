/** Every device-mapper ioctl that this process issues, for who wants to count or trace them. */
import { channel } from "node:diagnostics_channel";

/** The name of the channel (node:diagnostics_channel). */
export const DM_IOCTL_CHANNEL = "thinpool:dm-ioctl";

/** What is published after each ioctl. */
export interface DmIoctlMessage {
  /** The kernel's word for it, "DM_DEV_CREATE"; with a suffix where one number has several meanings. */
  readonly command: string;
  /** The device, with the text of a message. */
  readonly object: string;
  /** 0 where it succeeded. */
  readonly errno: number;
}

const ioctls = channel(DM_IOCTL_CHANNEL);

/** Costs nothing while nobody listens. */
export function tellIoctl(message: () => DmIoctlMessage): void {
  if (ioctls.hasSubscribers) ioctls.publish(message());
}
