/** What the recorded load says in the log: from each mark on the host counts on what it tells. */
export const MARKS = {
  /** The filesystem is there. */
  mounted: "mounted",
  /** createPool has ended. */
  created: "created",
  /** The base is there, the workers begin. */
  loading: "loading",
  /** `acknowledged.WORKER.STEPS` */
  acknowledged: "acknowledged",
} as const;
