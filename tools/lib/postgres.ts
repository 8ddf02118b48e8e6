import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { installMissing } from "thinpool-lab";

const REQUIREMENT = { package: "postgresql-15", needs: "/usr/lib/postgresql/15/bin/postgres" };
/** Debian's own place for what `pg_createcluster` is to do. */
const SETTINGS = "/etc/postgresql-common/createcluster.d";

/**
 * Installs PostgreSQL's programs where they are missing, for examples/postgres-per-test. Debian's package
 * would make a database and start a server on it: it is told not to.
 */
export function preparePostgres(say: (line: string) => void): void {
  if (existsSync(REQUIREMENT.needs) || process.getuid?.() !== 0) {
    installMissing([REQUIREMENT], say);
    return;
  }
  const file = join(SETTINGS, "thinpool.conf");
  mkdirSync(SETTINGS, { recursive: true });
  writeFileSync(file, "create_main_cluster = false\n");
  try {
    installMissing([REQUIREMENT], say);
  } finally {
    rmSync(file, { force: true });
  }
}
