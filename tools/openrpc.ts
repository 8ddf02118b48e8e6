/**
 * The OpenRPC document of thinpool.v1, and the tables of docs/PROTOCOL.md, made from the schemas.
 *
 *     node --conditions=source tools/openrpc.ts && node_modules/.bin/oxfmt docs
 *
 * writes both; tools/openrpc.test.ts fails where what is committed is not what this makes.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as protocol from "@thinpool/protocol";
import { toJsonSchema } from "@valibot/to-json-schema";
import type * as v from "valibot";
import { ROOT } from "./lib/command.ts";

export const OPENRPC_PATH: string = join(ROOT, "docs/openrpc.json");
export const PROTOCOL_PATH: string = join(ROOT, "docs/PROTOCOL.md");

/** Schemas that are used in many places, each written out once. */
const SHARED: Readonly<Record<string, v.GenericSchema>> = {
  u64: protocol.u64,
  deviceName: protocol.deviceName,
  uuid: protocol.uuid,
  device: protocol.device,
  mount: protocol.mount,
  poolStatus: protocol.poolStatus,
  poolEvent: protocol.poolEvent,
  session: protocol.session,
  requestId: protocol.requestId,
  idempotencyKey: protocol.idempotencyKey,
};

type JsonSchema = Omit<ReturnType<typeof toJsonSchema>, "$schema" | "$defs">;

/** `own`: the name of the shared schema that is being written out itself. */
function jsonSchema(schema: v.GenericSchema, own?: string): JsonSchema {
  const definitions = Object.fromEntries(Object.entries(SHARED).filter(([name]) => name !== own));
  const {
    $schema: _dialect,
    $defs: _written,
    ...rest
  } = toJsonSchema(schema, {
    definitions,
    // What JSON Schema can't say (that a decimal string is below 2^64) stays unsaid there.
    ignoreActions: ["check"],
    overrideRef: ({ referenceId }) => `#/components/schemas/${referenceId}`,
  });
  return rest;
}

/** One entry per parameter: OpenRPC wants them by name. */
function parameters(schema: v.GenericSchema): readonly unknown[] {
  const { properties = {}, required = [] } = jsonSchema(schema);
  return Object.entries(properties).map(([name, inner]) => ({
    name,
    required: required.includes(name),
    schema: inner,
  }));
}

const KEY_PARAMETER = {
  name: "idempotencyKey",
  required: false,
  schema: { $ref: "#/components/schemas/idempotencyKey" },
};

function methods(): readonly unknown[] {
  return protocol.methodNames.toSorted().map((name) => {
    const { changes, summary, params, result } = protocol.methods[name];
    return {
      name,
      summary,
      paramStructure: "by-name",
      params: [...parameters(params), ...(changes ? [KEY_PARAMETER] : [])],
      result: { name: "result", schema: jsonSchema(result) },
      "x-changes": changes,
    };
  });
}

function notifications(): readonly unknown[] {
  const { clientNotifications, daemonNotifications } = protocol;
  const from = (
    direction: string,
    table: Readonly<Record<string, { readonly summary: string; readonly params: v.GenericSchema }>>,
  ): readonly unknown[] =>
    Object.entries(table).map(([name, { summary, params }]) => ({
      name,
      summary,
      paramStructure: "by-name",
      params: parameters(params),
      // OpenRPC: a method without a result is a notification.
      "x-direction": direction,
    }));
  return [
    ...from("client-to-daemon", clientNotifications),
    ...from("daemon-to-client", daemonNotifications),
  ];
}

function errors(): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    protocol.errorCodeNames.map((name) => {
      const { number, retryable, meaning, hint } = protocol.errorCodes[name];
      return [name, { code: number, message: meaning, data: { code: name, hint, retryable } }];
    }),
  );
}

export function openRpcDocument(): string {
  const document = {
    openrpc: "1.3.2",
    info: {
      title: "thinpool.v1",
      version: "1",
      description:
        "JSON-RPC 2.0 in WebSocket text messages, subprotocol thinpool.v1. See docs/PROTOCOL.md.",
    },
    methods: [...methods(), ...notifications()],
    components: {
      schemas: Object.fromEntries(
        Object.entries(SHARED).map(([name, schema]) => [name, jsonSchema(schema, name)]),
      ),
      errors: errors(),
    },
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** The rows of PROTOCOL.md's table of methods: cells without their bars. */
export function methodRows(): readonly (readonly string[])[] {
  return protocol.methodNames.toSorted().map((name) => {
    const { changes, summary, params } = protocol.methods[name];
    const { properties = {}, required = [] } = jsonSchema(params);
    const names = Object.keys(properties).map((key) => (required.includes(key) ? key : `${key}?`));
    return [name, names.join(", "), changes ? "yes" : "no", summary];
  });
}

/** The rows of PROTOCOL.md's table of errors. */
export function errorRows(): readonly (readonly string[])[] {
  return protocol.errorCodeNames.map((name) => {
    const { number, retryable, meaning } = protocol.errorCodes[name];
    return [name, String(number), retryable ? "yes" : "no", meaning];
  });
}

/** The text with other rows under the table's head, which begins with `first`. */
function withRows(text: string, first: string, rows: readonly (readonly string[])[]): string {
  const lines = text.split("\n");
  const head = lines.findIndex((line) => line.startsWith(`| ${first} `));
  const end = lines.indexOf("", head);
  const written = rows.map((row) => `| ${row.join(" | ")} |`);
  return [...lines.slice(0, head + 2), ...written, ...lines.slice(end)].join("\n");
}

if (import.meta.main) {
  writeFileSync(OPENRPC_PATH, openRpcDocument());
  const text = readFileSync(PROTOCOL_PATH, "utf8");
  writeFileSync(
    PROTOCOL_PATH,
    withRows(withRows(text, "method", methodRows()), "code", errorRows()),
  );
}
