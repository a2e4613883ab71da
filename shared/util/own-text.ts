/** The same text in memory of its own: a part of a larger one keeps all of that in memory. */
export function ownText(text: string): string {
  return Buffer.from(text).toString();
}
