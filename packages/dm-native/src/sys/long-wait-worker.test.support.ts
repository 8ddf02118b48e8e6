/** A worker with this module of its own: starts a lane, and ends it. */
import { ThreadStore } from "./long-wait-threads.ts";

await new ThreadStore().start().stop();
