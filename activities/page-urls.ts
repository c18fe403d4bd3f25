/**
 * Where the card of a version is served: `cards` is the neighbour of the data reports.
 *
 * @param reportsUrl what links to data reports begin with; null where nobody serves them.
 */
export function cardUrl(
  reportsUrl: string | null,
  { line, version }: { line: string; version: number },
): string | null {
  if (reportsUrl === null) return null;
  return new URL(`cards/${line}/${String(version)}`, reportsUrl.replace(/\/+$/, '')).href;
}
