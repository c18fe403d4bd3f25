import { readMetrics } from '../../data/card/recorded.ts';
import { interval } from '../../data/card/wording.ts';
import type { Evaluation, Interval } from '../../policy/evaluation.ts';
import type { VersionFacts } from '../../store/lineage.ts';
import { table, time } from '../commands/run-command.ts';
import { changesBetween, describeConfigChanges, describeDifference, type Changes } from './changes.ts';
import { describeData } from './describe-version.ts';
import { metricRows, population } from './describe-metrics.ts';

export interface Comparison {
  from: VersionFacts;
  to: VersionFacts;
  changes: Changes;
  /** How the two are related: versions from the older to the younger, or the newest that both descend from. */
  relation: Relation;
}

export type Relation =
  { kind: 'descends'; path: VersionFacts[] } | { kind: 'commonAncestor'; version: number } | { kind: 'unrelated' };

/** Where the ancestries of two versions meet; each begins with the version itself. */
export function relate(
  from: readonly number[],
  to: readonly number[],
): { kind: 'descends'; path: number[] } | Exclude<Relation, { kind: 'descends' }> {
  const meeting = from.find((version) => to.includes(version));
  if (meeting === undefined) return { kind: 'unrelated' };
  const longer = meeting === from[0] ? to : meeting === to[0] ? from : null;
  if (longer === null) return { kind: 'commonAncestor', version: meeting };
  return { kind: 'descends', path: longer.slice(0, longer.indexOf(meeting) + 1).reverse() };
}

export function compareVersions(from: VersionFacts, to: VersionFacts, relation: Relation): Comparison {
  return { from, to, changes: changesBetween(from.version, to.version), relation };
}

/** The comparison, for reading. */
export function describeComparison(comparison: Comparison): string {
  const { from, to, changes } = comparison;
  return [
    `${name(from)} and ${name(to)} of ${to.version.line}`,
    describeRelation(comparison),
    describeFacts(from, to),
    described('config', changes.config === null ? ['not on record of both'] : describeConfigChanges(changes)),
    described('environment', [...changes.codeVersion, ...changes.environment].map(describeDifference)),
    describeMetrics(from, to),
  ].join('\n\n');
}

function describeRelation({ from, to, relation }: Comparison): string {
  if (relation.kind === 'unrelated') return 'neither descends from the other, nor do both from a third';
  if (relation.kind === 'commonAncestor')
    return `both descend from version ${relation.version}, neither from the other`;
  const [first, last] = [relation.path[0] ?? from, relation.path.at(-1) ?? to];
  if (first === last) return 'they are the same version';
  const steps = relation.path
    .slice(1)
    .map((step) => [
      `  ${step.version.version}`,
      step.version.status,
      step.version.lineage.strategy ?? '-',
      describeData(step),
    ]);
  return `${name(last)} descends from ${name(first)}:\n${table(steps)}`;
}

function describeFacts(from: VersionFacts, to: VersionFacts): string {
  const of = (facts: VersionFacts): Record<string, string> => {
    const { version } = facts;
    const { lineage } = version;
    return {
      '': name(facts),
      status: version.status,
      created: time(version.createdAt),
      parent: version.parent === null ? '-' : String(version.parent),
      strategy: lineage.strategy ?? '-',
      snapshot: lineage.snapshotId?.slice(0, 12) ?? '-',
      'data from': moment(facts.window?.fromMs),
      'trained up to': moment(facts.window?.splitMs),
      'tested up to': moment(facts.window?.toMs),
      config: lineage.configHash?.slice(0, 12) ?? '-',
      code: lineage.codeVersion ?? '-',
      seed: String(lineage.seed ?? '-'),
      threads: String(lineage.threads ?? '-'),
    };
  };
  const right = of(to);
  return table(Object.entries(of(from)).map(([label, value]) => [label, value, right[label] ?? '-']));
}

function described(what: string, lines: readonly string[]): string {
  if (lines.length === 0) return `${what}: the same`;
  return [
    `${what}: ${lines.length} ${lines.length === 1 ? 'difference' : 'differences'}`,
    ...lines.map((line) => `  ${line}`),
  ].join('\n');
}

/** Side by side; measured on the same rows where one was the champion of the other. */
function describeMetrics(from: VersionFacts, to: VersionFacts): string {
  const [left, right] = [evaluationOf(from), evaluationOf(to)];
  if (right?.champion === from.version.version) return onSameRows(right, { from, to, turned: false });
  if (left?.champion === to.version.version) return onSameRows(left, { from, to, turned: true });
  if (left === null || right === null) {
    const missing = [left === null ? [from] : [], right === null ? [to] : []].flat().map(name);
    return `metrics: ${missing.join(' and ')} ${missing.length === 1 ? 'has' : 'have'} none that this build can compare`;
  }
  const others = new Map(metricRows(right).map((row) => [row.name, row.challenger]));
  const rows = metricRows(left).map((row) => [row.name, interval(row.challenger), said(others.get(row.name))]);
  return [
    `metrics, each on its own ${population(left.overall)}; ${population(right.overall)}. Differences between them may be the data's`,
    table([['metric', name(from), name(to)], ...rows]),
  ].join('\n');
}

function onSameRows(
  evaluation: Evaluation,
  { from, to, turned }: { from: VersionFacts; to: VersionFacts; turned: boolean },
): string {
  const rows = metricRows(evaluation).map((row) => [
    row.name,
    said(turned ? row.challenger : row.champion),
    said(turned ? row.champion : row.challenger),
    row.gain === null ? '-' : interval(row.gain, { sign: true }),
  ]);
  const better = name(turned ? from : to);
  return [
    `metrics, both on the same ${population(evaluation.overall)}`,
    table([['metric', name(from), name(to), `gain of ${better}`], ...rows]),
  ].join('\n');
}

function evaluationOf({ version }: VersionFacts): Evaluation | null {
  const { evaluation } = readMetrics(version.metrics);
  return evaluation.kind === 'measured' ? evaluation.evaluation : null;
}

function said(figures: Interval | null | undefined): string {
  return figures == null ? '-' : interval(figures);
}

function moment(ms: number | undefined): string {
  return ms === undefined ? '-' : time(new Date(ms));
}

function name({ version }: VersionFacts): string {
  return `version ${version.version}`;
}
