export const folder: string = "lab";
