export const folder: string = "examples";
