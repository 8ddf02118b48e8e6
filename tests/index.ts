export const folder: string = "tests";
