/** The questions to the daemon that change nothing, with their answers as text: by their command. */
import type { Client } from "@thinpool/sdk";
import { renderDevices, renderTree } from "./device.ts";
import { imagesOf, renderImages } from "./image.ts";
import { leasesOf, renderLeases } from "./lease.ts";
import { renderMounts } from "./mount.ts";
import { outlookOf, renderPoolStatus } from "./pool.ts";

export interface View<Answer> {
  readonly ask: (client: Client) => Promise<Answer>;
  readonly render: (answer: Answer, options: { readonly bytes: boolean }) => string;
}

function view<Answer>(made: View<Answer>): View<Answer> {
  return made;
}

export const views = {
  "device list": view({ ask: (client) => client.list(), render: renderDevices }),
  "device tree": view({ ask: (client) => client.list(), render: renderTree }),
  "image list": view({
    ask: async (client) => imagesOf(await client.list()),
    render: renderImages,
  }),
  "lease list": view({
    ask: async (client) => leasesOf(await client.mounts()),
    render: renderLeases,
  }),
  mounts: view({ ask: (client) => client.mounts(), render: renderMounts }),
  "pool status": view({ ask: outlookOf, render: renderPoolStatus }),
};

export type ViewName = keyof typeof views;

export function isViewName(text: string): text is ViewName {
  return Object.hasOwn(views, text);
}
