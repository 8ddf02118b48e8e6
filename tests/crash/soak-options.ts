/** A number of a soak's command line. */
export function wholeNumber(text: string, option: string): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(value)) throw new TypeError(`--${option} '${text}' is no whole number`);
  return value;
}
