import { normalQuantile } from './statistics.ts';

/** Level of each one-sided bound, where nothing else is said. */
const LEVEL = 0.05;
/**
 * Share of cases in which a named size is to decide. 80 % are promised: the standard error is itself an estimate, off by
 * a tenth with a hundred users, and sizes that follow from it keep less than they plan for.
 */
const PLANNED_POWER = 0.85;

/** What was measured, on how much. The standard error is the bootstrap's own, of this pair of models. */
export interface Measured {
  rows: number;
  users: number;
  standardError: number;
  /** One-sided level of the bound that decides; 5 % when left out. */
  level?: number;
}

/** How much more of the same traffic it takes. */
export interface Size {
  rows: number;
  users: number;
}

/**
 * The size at which a bound of the gain passes `limit` in 80 % of cases, on whichever side of it the true gain lies, if
 * that is `estimate`: n' = n ((z.95 + z.85) se / |estimate - limit|)^2, the sample size of a one-sided test against a
 * margin (Chow, Shao & Wang, "Sample Size Calculations in Clinical Research", non-inferiority of two means), with the
 * standard error falling with the root of the size as clusters are added. Always more than there were. Undefined when
 * the gain is the limit itself or a number is not known: then more rows alone do not decide.
 */
export function sizeThatDecides(
  measured: Measured & { estimate: number },
  { limit }: { limit: number },
): Size | undefined {
  return sizeFor(measured, Math.abs(measured.estimate - limit));
}

/**
 * The size at which a true gain that lies `margin` beyond a limit is told from it in 80 % of cases. With the tolerance as
 * margin: a loss of twice the tolerance is rejected, and no loss at all passes. It rests on the standard error alone, not
 * on an estimate that may lie far off on few rows. Undefined without a margin.
 */
export function sizeThatDetects(measured: Measured, { margin }: { margin: number }): Size | undefined {
  return sizeFor(measured, margin);
}

function sizeFor({ rows, users, standardError, level = LEVEL }: Measured, margin: number): Size | undefined {
  const z = normalQuantile(1 - level) + normalQuantile(PLANNED_POWER);
  const factor = ((z * standardError) / margin) ** 2;
  const size = { rows: Math.ceil(rows * factor), users: Math.ceil(users * factor) };
  if (!(margin > 0) || !Number.isSafeInteger(size.rows) || !Number.isSafeInteger(size.users)) return undefined;
  return { rows: Math.max(rows + 1, size.rows), users: Math.max(users, size.users) };
}
