import { z } from 'zod';

/**
 * What a failed check does: `block` keeps the snapshot from training, `warn` tells people, `dryRun` only records what it
 * would have said (to choose a threshold before it counts).
 */
export const SEVERITIES = ['block', 'warn', 'dryRun'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** The config of one check: its severity, a ceiling to what its finding may do, and its thresholds. */
export function checkSection<Shape extends z.ZodRawShape>(severity: Severity, thresholds: Shape) {
  const ceiling = z
    .enum(SEVERITIES)
    .default(severity)
    .describe('The most that this check may do: block, warn, or dryRun (recorded only).');
  return z
    .object({ severity: ceiling, ...thresholds })
    .strict()
    .prefault({} as never);
}
