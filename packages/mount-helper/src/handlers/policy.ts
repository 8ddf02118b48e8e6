/** policy.*: who may do what. */
import type { MethodResult } from "@thinpool/protocol";
import { accountOf, idsOf } from "../accounts.ts";
import { RequestError } from "../errors.ts";
import type { Limits, Verb } from "../policy/rights.ts";
import { concerns } from "../policy/rights.ts";
import type { HandlerParts, Topic } from "./handler.ts";

export function policyHandlers({ access }: HandlerParts): Topic<"policy"> {
  return {
    "policy.whoami": (_params, principal) => {
      const { uid, gid, groups } = principal;
      const rules = access.policy.rules.filter((rule) => concerns(rule, principal));
      return Promise.resolve({
        uid,
        gid,
        groups: [...groups],
        rules: rules.map(({ name }) => name),
        create: access.decide(principal, "create", undefined).allowed,
        admin: access.decide(principal, "admin", undefined).allowed,
        connect: access.decide(principal, "connect", undefined).allowed,
        limits: limitsToWire(access.limits(principal)),
      });
    },

    "policy.test": async ({ user, verb, device: name, otherUid }) => {
      const uid = typeof user === "number" ? user : (await accountOf(user))?.uid;
      const asked: Verb = verb === "mount" || verb === "remove" ? "touch" : verb;
      const device = name === undefined ? undefined : access.device(name);
      if (uid === undefined || (name !== undefined && device === undefined)) {
        throw new RequestError({
          code: "NOT_FOUND",
          operation: "policy.test",
          object: uid === undefined ? String(user) : String(name),
          reason: `there is no such ${uid === undefined ? "user" : "device"}`,
          hint: "See /etc/passwd for the users, and thinpool device list for the devices.",
        });
      }
      const object =
        device === undefined
          ? otherUid === undefined
            ? undefined
            : { uid: otherUid }
          : { device };
      return access.decide(await idsOf(uid), asked, object);
    },
  };
}

function limitsToWire({
  virtualBytes,
  mappedBytes,
  ...limits
}: Limits): MethodResult<"policy.whoami">["limits"] {
  return {
    ...limits,
    ...(virtualBytes === undefined ? {} : { virtualBytes: virtualBytes.toString() }),
    ...(mappedBytes === undefined ? {} : { mappedBytes: mappedBytes.toString() }),
  };
}
