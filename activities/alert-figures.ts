import { count, decimal, milliseconds } from '../policy/figures.ts';
import type { Reason } from '../policy/verdict.ts';

/** What an alert shows of the reason that decided. */
export interface AlertFigures {
  /** Of which metric or check the numbers are. */
  metric?: string;
  observed?: string;
  expected?: string;
  /** How much was looked at: `412 requests, 31 impressions`. */
  counts?: string;
}

/** Reasons that say how it was decided; the numbers that decided stand in the ones after them. */
const PROCEDURE = /^(breaker|operator|approval|pause)\./;
/** Part of the verdict, not of the metric's name. */
const VERDICT = /\.(fail|pass|unknown|insufficient|inferior|handicapped|inconclusive|not-applicable)$/;
const FAMILY = /^(health|shadow|gate)\./;
const EXPECTED = /^(expected|limit|tolerance|threshold|by|champion|min|max|allowed)(?=$|[A-Z])/;
const COUNTED =
  /^(count|counts|errors|requests|impressions|clicks|rows|users|groups|dropped|unpassed|failed|examples)$|(Requests|Impressions|Clicks|Rows|Users|Count)$/;
/** More would not be read. */
const MAX_FIGURES = 6;
const YEAR_2001_MS = 1e12;
/** By their names; limits are called as in the config, where durations have no unit. */
const IN_MS = /(Ms|[lL]ag|[dD]elay|[wW]indow|[lL]atency)$/;

/**
 * The numbers of the first reason that measured something, sorted by what their names say they are. Which numbers there are
 * is up to the check that gave the reason: a name that says nothing counts as observed.
 */
export function alertFigures(reasons: readonly Reason[]): AlertFigures {
  const measured = reasons.filter(({ numbers }) => Object.keys(numbers ?? {}).length > 0);
  const reason = measured.find(({ code }) => !PROCEDURE.test(code)) ?? measured[0] ?? reasons[0];
  if (reason === undefined) return {};
  const { metric, ...numbers } = reason.numbers ?? {};
  const entries = Object.entries(numbers);
  const expected = entries.filter(([name]) => EXPECTED.test(name));
  const counted = entries.filter(([name]) => COUNTED.test(name) && !EXPECTED.test(name));
  const observed = entries.filter(([name]) => !EXPECTED.test(name) && !COUNTED.test(name));
  const named = typeof metric === 'string' ? [metric] : [];
  return {
    metric: [...named, nameOf(reason.code)].join(', '),
    ...(observed.length > 0 && { observed: list(observed, observed.length > 1) }),
    ...(expected.length > 0 && { expected: list(expected, true) }),
    ...(counted.length > 0 && {
      counts: counted.map(([name, value]) => `${figure(name, value)} ${words(name)}`).join(', '),
    }),
  };
}

function nameOf(code: string): string {
  return code.replace(VERDICT, '').replace(FAMILY, '').replaceAll('-', ' ');
}

function list(entries: [string, number | string | null][], named: boolean): string {
  const shown = entries.slice(0, MAX_FIGURES).map(([name, value]) => {
    const told = figure(name, value);
    return named && name !== 'expected' ? `${words(name)} ${told}` : told;
  });
  return [...shown, ...(entries.length > MAX_FIGURES ? ['…'] : [])].join(', ');
}

/** `maxErrorRate` as `at most error rate`, `max` as `at most`. */
function words(name: string): string {
  const split = name
    .replace(/Ms$/, '')
    .replace(/([a-z])([A-Z])/g, '$1 $2')
    .toLowerCase();
  return split.replace(/^max\b/, 'at most').replace(/^min\b/, 'at least');
}

function figure(name: string, value: number | string | null): string {
  if (value === null) return 'none';
  if (typeof value === 'string') return value;
  if (!Number.isFinite(value)) return String(value);
  if (IN_MS.test(name)) return value > YEAR_2001_MS ? new Date(value).toISOString() : milliseconds(value);
  return Number.isInteger(value) ? count(value) : decimal(value);
}
