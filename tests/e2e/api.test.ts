/** The API's cases against the testing daemon. */
import { after, before } from "node:test";
import type { TestingDaemon } from "@thinpool/sdk/testing";
import { startTestingDaemon } from "@thinpool/sdk/testing";
import { apiCases } from "../api/cases.ts";

let daemon: TestingDaemon;

before(async () => {
  daemon = await startTestingDaemon();
});

after(() => daemon[Symbol.asyncDispose]());

apiCases(() => ({
  connect: (options) => daemon.connect(options),
  restart: () => daemon.restart(),
  isReal: false,
  isRoot: process.geteuid?.() === 0,
}));
