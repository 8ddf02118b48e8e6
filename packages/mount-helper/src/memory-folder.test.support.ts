/** A tmpfs: many ledgers are made in tests, and the deaths are simulated, so no commit need wait for a disk. */
export const MEMORY_FOLDER = "/dev/shm";
