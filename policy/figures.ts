/** How figures are written in the sentences of reasons. By hand, not by locale: the same text on every machine and in every replay. */

/** `12345.6` as `12,346`. */
export function count(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** A share as `4.12 %`. */
export function percent(share: number): string {
  return Number.isFinite(share) ? `${String(Number((share * 100).toFixed(2)))} %` : String(share);
}

/** `0.123456` as `0.1235`: four decimals, without trailing zeros; what four would round to 0 keeps two digits. */
export function decimal(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const rounded = Number(value.toFixed(4));
  return String(rounded === 0 && value !== 0 ? Number(value.toPrecision(2)) : rounded);
}

/** A difference with two digits, however small: `1.2e-7`. */
export function difference(value: number): string {
  return String(Number(value.toPrecision(2)));
}

/** A duration in milliseconds as `250 ms`, `90 s` or `5 min`. */
export function milliseconds(ms: number): string {
  if (ms < 1_000) return `${decimal(ms)} ms`;
  return ms < 120_000
    ? `${String(Number((ms / 1_000).toFixed(1)))} s`
    : `${String(Number((ms / 60_000).toFixed(1)))} min`;
}

/** The numbers of a reason as they survive JSON: NaN and the infinities as words. */
export function recorded(numbers: Record<string, number | string | null>): Record<string, number | string | null> {
  const entries = Object.entries(numbers).map(
    ([name, value]) => [name, typeof value === 'number' && !Number.isFinite(value) ? String(value) : value] as const,
  );
  return Object.fromEntries(entries);
}

/** What a metric may be, in words: `at least 0.5 and at most 2`. Empty without a limit. */
export function limits({ min, max }: { min?: number | undefined; max?: number | undefined }): string {
  const texts = [
    min === undefined ? '' : `at least ${decimal(min)}`,
    max === undefined ? '' : `at most ${decimal(max)}`,
  ];
  return texts.filter((text) => text !== '').join(' and ');
}
