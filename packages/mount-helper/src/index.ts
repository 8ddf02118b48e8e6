/** Filled by the next commits. */
export const packageName: string = "@thinpool/mount-helper";
