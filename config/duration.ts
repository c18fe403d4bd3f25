import { z } from 'zod';

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const PATTERN = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;

/**
 * Milliseconds of a duration written as `250ms`, `90s`, `30m`, `4h` or `7d`.
 *
 * @throws Error when the text is not a number followed by one of the units.
 * @example parseDuration('1.5h') // 5_400_000
 */
export function parseDuration(text: string): number {
  const match = PATTERN.exec(text.trim());
  if (match === null) {
    throw new Error(`"${text}" is not a duration: write a number and a unit, such as 90s, 30m, 4h or 7d`);
  }
  return Math.round(Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS]);
}

/** The shortest exact form of a duration: `14_400_000` becomes `4h`. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    if (ms >= UNIT_MS[unit] && ms % UNIT_MS[unit] === 0) return `${String(ms / UNIT_MS[unit])}${unit}`;
  }
  return `${String(Math.round(ms))}ms`;
}

/** A config field that is written as a duration and read as milliseconds (a number is taken as milliseconds). */
export const duration = z
  .union([
    z.string().regex(PATTERN, { message: 'expected a duration such as 90s, 30m, 4h or 7d' }),
    z.number().nonnegative(),
  ])
  .transform((value) => (typeof value === 'string' ? parseDuration(value) : value));
