/** The fixture for Vitest, and two tests that would disturb each other on one database. */
import { connect } from "@thinpool/sdk";
import { expect, test as base } from "vitest";
import type { Database } from "./postgres.ts";
import { freshDatabase } from "./postgres.ts";

const BASE = process.env["POSTGRES_BASE"] ?? "postgres-base";

const test = base.extend<{ database: Database }>({
  database: async ({ signal }, use) => {
    await using client = await connect({ signal });
    await using database = await freshDatabase(client, { base: BASE, signal });
    await use(database);
  },
});

test("a user can be deleted", async ({ database }) => {
  await database.query("delete from users");
  expect(await database.query("select count(*) from users")).toBe("0");
});

test("a user can be added", async ({ database }) => {
  await database.query("insert into users (name) values ('Barbara')");
  const names = "select string_agg(name, ' ' order by name) from users";
  expect(await database.query(names)).toBe("Ada Barbara");
});
