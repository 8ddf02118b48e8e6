/** The fixture for node:test, and two tests that would disturb each other on one database. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "@thinpool/sdk";
import type { Database } from "./postgres.ts";
import { freshDatabase } from "./postgres.ts";

const BASE = process.env["POSTGRES_BASE"] ?? "postgres-base";

function databaseTest(name: string, body: (database: Database) => Promise<void>): void {
  test(name, async ({ signal }) => {
    await using client = await connect({ signal });
    await using database = await freshDatabase(client, { base: BASE, signal });
    await body(database);
  });
}

databaseTest("a user can be deleted", async ({ query }) => {
  await query("delete from users");
  assert.equal(await query("select count(*) from users"), "0");
});

databaseTest("a user can be added", async ({ query }) => {
  await query("insert into users (name) values ('Barbara')");
  assert.equal(await query("select string_agg(name, ' ' order by name) from users"), "Ada Barbara");
});
