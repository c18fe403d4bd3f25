/** `1 file`, `2 files`. */
export function filesOf(files: number): string {
  return `${String(files)} file${files === 1 ? '' : 's'}`;
}

/** `1.5 MB`: powers of 1,000. */
export function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const power = bytes < 1_000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1_000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power] ?? ''}`;
}
