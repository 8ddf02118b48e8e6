export const folder: string = "tools";
