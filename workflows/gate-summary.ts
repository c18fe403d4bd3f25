import type { GateConfig } from '../config/schema.ts';
import type { Evaluation } from '../policy/evaluation.ts';
import { count, decimal } from '../policy/figures.ts';
import type { GateVerdict } from '../policy/gate.ts';
import type { GateSummary, WaitingForRows } from './messages.ts';

/** What operators see of a verdict: its numbers without the evaluation, which stays with the version. */
export function summariseGate(of: {
  evaluation: Evaluation;
  gate: GateVerdict;
  metric: GateConfig['metric'];
  extensions: number;
}): GateSummary {
  const { evaluation, gate, metric, extensions } = of;
  const { rows, users, gain } = evaluation.overall;
  const found = gain?.[metric];
  const known = found !== undefined && [found.estimate, found.lower, found.upper].every(Number.isFinite);
  const rules: Record<string, number> = {};
  for (const { kind } of gate.rules) rules[kind] = (rules[kind] ?? 0) + 1;
  return {
    kind: gate.kind,
    rows,
    users,
    champion: evaluation.champion,
    gain: known ? { metric, estimate: found.estimate, lower: found.lower, upper: found.upper } : null,
    rules,
    reasons: gate.reasons,
    neededRows: gate.neededRows ?? null,
    extensions,
  };
}

/** One line: `inconclusive on 12,000 rows of 900 users; auc -0.001 (-0.004 to 0.002) against version 3; rules: 6 pass, ...`. */
export function describeGate(summary: GateSummary): string {
  const { kind, rows, users, champion, gain, rules, neededRows, extensions } = summary;
  const counts = Object.entries(rules).map(([verdict, number]) => `${count(number)} ${verdict}`);
  const extended = extensions === 0 ? '' : `, ${count(extensions)} extension${extensions === 1 ? '' : 's'} in them`;
  return [
    `${kind} on ${count(rows)} rows of ${count(users)} users${extended}`,
    ...(gain === null ? [] : [describeGain(gain, champion)]),
    ...(counts.length === 0 ? [] : [`rules: ${counts.join(', ')}`]),
    ...(neededRows === null ? [] : [`about ${count(neededRows)} rows would decide`]),
  ].join('; ');
}

/** `1 of 2, until 2026-01-31T12:00:00.000Z; 12,000 rows so far, about 40,000 would decide`. */
export function describeWait({ attempt, of, until, rows, neededRows }: WaitingForRows): string {
  const needed = neededRows === null ? '' : `, about ${count(neededRows)} would decide`;
  return `${count(attempt)} of ${count(of)}, until ${until}; ${count(rows)} rows so far${needed}`;
}

function describeGain(gain: NonNullable<GateSummary['gain']>, champion: number | null): string {
  const bounds = `${decimal(gain.lower)} to ${decimal(gain.upper)}`;
  return `${gain.metric} gains ${decimal(gain.estimate)} (${bounds}) over version ${String(champion)}`;
}
