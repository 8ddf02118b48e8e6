/** Answers what `quickOf` has recognised. */
import { connect } from "@thinpool/sdk";
import { toJson } from "./json.ts";
import type { Quick } from "./quick.ts";
import { isViewName, type View, views } from "./views.ts";

/** Rejects with what `report` prints. */
export async function answerQuickly({ name, socket, json, bytes }: Quick): Promise<void> {
  if (!isViewName(name)) throw new Error(`${name} is no view`);
  const view = views[name] as View<unknown>;
  const client = await connect({ socketPath: socket });
  try {
    const answer = await view.ask(client);
    process.stdout.write(`${json ? toJson(answer) : view.render(answer, { bytes })}\n`);
  } finally {
    await client.close();
  }
}
