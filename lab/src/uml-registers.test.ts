import assert from "node:assert/strict";
import { test } from "node:test";
import { registersTooLarge } from "./uml-registers.ts";

const cpuinfo = (flags: string): string =>
  `processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Processor\nflags\t\t: ${flags}\nbugs\t\t: spectre_v1\n`;

test("of all registers only AMX's are too large for User Mode Linux", () => {
  assert.equal(registersTooLarge(cpuinfo("fpu avx512f pku amx_bf16 amx_tile amx_int8")), true);
  assert.equal(registersTooLarge(cpuinfo("fpu avx512f avx512_fp16 pku")), false);
  assert.equal(registersTooLarge("model name\t: amx_tile\nflags\t\t: fpu\n"), false);
});
