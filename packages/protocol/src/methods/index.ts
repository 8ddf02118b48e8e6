/**
 * The methods of thinpool.v1: one schema each for params and result; types and checks come from it.
 * A topic is a file; a new method is an entry there and nothing here.
 */
import type * as v from "valibot";
import { deviceVerbMethods } from "./device-verbs.ts";
import { deviceMethods } from "./device.ts";
import { eventMethods } from "./events.ts";
import { mountMethods } from "./mount.ts";
import { policyMethods } from "./policy.ts";
import { poolMethods } from "./pool.ts";
import { sessionMethods } from "./session.ts";
import { streamMethods } from "./streams.ts";
import { tokenMethods } from "./token.ts";

export * from "./device-verbs.ts";
export * from "./device.ts";
export * from "./events.ts";
export * from "./method.ts";
export * from "./mount.ts";
export * from "./policy.ts";
export * from "./pool.ts";
export * from "./scalars.ts";
export * from "./session.ts";
export * from "./streams.ts";
export * from "./token.ts";

export const methods = {
  ...poolMethods,
  ...deviceMethods,
  ...deviceVerbMethods,
  ...streamMethods,
  ...eventMethods,
  ...mountMethods,
  ...sessionMethods,
  ...policyMethods,
  ...tokenMethods,
} as const;

export type MethodName = keyof typeof methods;
export type MethodParams<M extends MethodName> = v.InferOutput<(typeof methods)[M]["params"]>;
export type MethodResult<M extends MethodName> = v.InferOutput<(typeof methods)[M]["result"]>;

export const methodNames: readonly MethodName[] = Object.keys(methods) as MethodName[];

export function isMethodName(text: string): text is MethodName {
  return Object.hasOwn(methods, text);
}
