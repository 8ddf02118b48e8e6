/** Making a device an image, or taking that back. */
import type { Client, Device } from "@thinpool/sdk";
import { describeDevice } from "./device.ts";

export function publishPlan(device: Device, isPublic: boolean): string {
  return isPublic
    ? `let others clone ${describeDevice(device)}`
    : `let nobody but root clone ${describeDevice(device)} any more`;
}

/** The device as it then is, and a line about it. */
export async function publish(
  client: Client,
  name: string,
  isPublic: boolean,
): Promise<{ readonly device: Device; readonly line: string }> {
  const device = await client.rights.publish({ name, public: isPublic });
  return { device, line: `${device.name} is ${device.public === true ? "public" : "private"}` };
}
