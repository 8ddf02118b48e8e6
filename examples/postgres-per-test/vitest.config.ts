import { defaultServerConditions } from "vite";
import type { ViteUserConfig } from "vitest/config";

const config: ViteUserConfig = {
  // Only here, where the SDK lies unbuilt: leave it out of your copy.
  ssr: { resolve: { conditions: ["source", ...defaultServerConditions] } },
  test: { include: ["with-vitest.test.ts"], testTimeout: 60_000, hookTimeout: 60_000 },
};
export default config;
