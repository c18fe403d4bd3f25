import { lessIsBetter, type EvaluationMetric, type Interval } from '../../policy/evaluation.ts';
import { count } from '../../policy/figures.ts';
import { moment } from '../checks/wording.ts';

const NAMES: Record<EvaluationMetric, string> = {
  auc: 'AUC',
  logLoss: 'log loss',
  normalizedEntropy: 'normalized entropy',
  ndcg: 'NDCG',
  mrr: 'MRR',
  hitRate: 'hit rate',
  calibration: 'calibration',
  calibrationError: 'calibration error',
};

/** `NDCG@10`, `log loss`. */
export function metricName(metric: EvaluationMetric, k: number): string {
  return metric === 'ndcg' || metric === 'hitRate' ? `${NAMES[metric]}@${String(k)}` : NAMES[metric];
}

/** Which way is better. */
export function better(metric: EvaluationMetric): string {
  if (metric === 'calibration') return 'best at 1';
  return lessIsBetter(metric) ? 'less is better' : 'more is better';
}

/** Four places below 10: `0.7812`, `0.00213`, `12.3`. */
export function figure(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return 'unknown';
  if (Math.abs(value) >= 1_000) return count(value);
  const text = Math.abs(value) < 0.01 ? value.toPrecision(3) : value.toFixed(Math.abs(value) >= 10 ? 1 : 4);
  return String(Number(text)).replace('-', '−');
}

/**
 * `0.7812 (0.7741 to 0.7880)`: as many places as the bounds leave two digits of, which is what the chance of who came allows
 * to tell apart. A difference (`sign`) says its sign: `+0.0042 (−0.0011 to +0.0095)`.
 */
export function interval({ estimate, lower, upper }: Interval, { sign = false } = {}): string {
  if (!Number.isFinite(estimate)) return 'unknown';
  if (!Number.isFinite(lower) || !Number.isFinite(upper))
    return `${placed(estimate, { places: 4, sign })} (bounds unknown)`;
  const half = (upper - lower) / 2;
  if (!(half > 0)) return `${figure(estimate)} (${figure(lower)} to ${figure(upper)})`;
  const places = Math.min(8, Math.max(2, 1 - Math.floor(Math.log10(half))));
  const say = (value: number): string => placed(value, { places, sign });
  return `${say(estimate)} (${say(lower)} to ${say(upper)})`;
}

function placed(value: number, { places, sign }: { places: number; sign: boolean }): string {
  const text = Math.abs(value).toFixed(places);
  if (Number(text) === 0) return text;
  return `${value < 0 ? '−' : sign ? '+' : ''}${text}`;
}

export function versionName(version: number): string {
  return `version ${String(version)}`;
}

/** A moment of the servers' time. */
export function when(date: Date | string): string {
  return moment(new Date(date).getTime());
}

/** `2026-05-12 10:32 to 14:20 UTC` */
export function stretch(fromMs: number, toMs: number): string {
  const [from, to] = [moment(fromMs), moment(toMs)];
  const sameDay = from.slice(0, 10) === to.slice(0, 10);
  return `${from.replace(' UTC', '')} to ${sameDay ? to.slice(11) : to}`;
}

/** `810 B`, `2.4 MB` (10^6 bytes). */
export function bytes(size: number | null): string {
  if (size === null || !Number.isFinite(size)) return 'unknown';
  if (size < 1_000) return `${String(size)} B`;
  const [unit, power] =
    size < 1e6 ? (['kB', 1e3] as const) : size < 1e9 ? (['MB', 1e6] as const) : (['GB', 1e9] as const);
  return `${String(Number((size / power).toPrecision(3)))} ${unit}`;
}

/** A status as people say it. */
export function statusName(status: string): string {
  return status === 'rolledBack' ? 'rolled back' : status;
}

/** A sentence begins with a capital and ends with a full stop; reasons of other parts do not always. */
export function sentence(text: string): string {
  const trimmed = text.trim();
  if (trimmed === '') return '';
  return `${trimmed.charAt(0).toUpperCase()}${trimmed.slice(1)}${/[.!?:)]$/.test(trimmed) ? '' : '.'}`;
}
