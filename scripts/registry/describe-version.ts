import { readMetrics } from '../../data/card/recorded.ts';
import { figure } from '../../data/card/wording.ts';
import { describeContamination } from '../../policy/contamination.ts';
import { count } from '../../policy/figures.ts';
import type { Decision } from '../../store/decisions.ts';
import type { VersionFacts } from '../../store/lineage.ts';
import { describeRemoved } from '../../store/removed-artifacts.ts';
import { table, time } from '../commands/run-command.ts';
import { describeConfigChanges, type Changes } from './changes.ts';
import { describeEvaluation, describeGate } from './describe-metrics.ts';
import { describeSpans, SPAN_HEAD } from './describe-route.ts';

export type ChangedVersion = VersionFacts & {
  /** From its parent; null without one. */
  changes: Changes | null;
};

/** Everything of one version, for reading. */
export function describeVersion(facts: ChangedVersion): string {
  const { version, statuses } = facts;
  const metrics = readMetrics(version.metrics);
  const changes = statuses.map(({ from, to, at }) => [time(at), from === null ? to : `${from} -> ${to}`]);
  return sections([
    head(facts),
    features(facts),
    artifacts(facts),
    ...(version.version === 0 ? [] : [describeTraining(facts), describeEvaluation(metrics)]),
    ...(version.version === 0 ? [] : [describeGate(metrics.gate, { rules: true })]),
    changes.length === 0 ? '' : `statuses\n${table(changes)}`,
    describeRoutes(facts),
    describeDecisions(facts.decisions),
  ]);
}

/** One version of a lineage: what it came from, what came of it. */
export function describeStep(facts: ChangedVersion): string {
  const metrics = readMetrics(facts.version.metrics);
  return sections([
    head(facts),
    describeEvaluation(metrics),
    describeGate(metrics.gate, { rules: false }),
    describeRoutes(facts),
    describeDecisions(facts.decisions),
  ]);
}

/** `snapshot 3f9c2a71b0de: trained on 2026-01-31 08:00:00 UTC to ..., tested up to ...`. */
export function describeData({ version, window }: Pick<VersionFacts, 'version' | 'window'>): string {
  const { snapshotId } = version.lineage;
  if (snapshotId === undefined) return 'none';
  const snapshot = `snapshot ${snapshotId.slice(0, 12)}`;
  if (window === null) return `${snapshot}, which is not on record`;
  const [from, split, to] = [window.fromMs, window.splitMs, window.toMs].map((ms) => time(new Date(ms)));
  return `${snapshot}: trained on ${from ?? ''} to ${split ?? ''}, tested up to ${to ?? ''}`;
}

function head(facts: ChangedVersion): string {
  const { version, aliases, pin, contamination } = facts;
  const { lineage, status } = version;
  const lines = [`version ${version.version} of ${version.line}: ${status}`];
  const add = (name: string, value: string): number => lines.push(`  ${name.padEnd(12)}${value}`);
  if (contamination !== null) add('TAINTED', describeContamination(contamination));
  if (aliases.length > 0) add('aliases', aliases.join(', '));
  if (pin !== null) add('pinned', `${time(pin.at)} by ${pin.who}: ${pin.why}`);
  if (version.version === 0) {
    add('what', "keeps the input's order: no model, no parent");
    return lines.join('\n');
  }
  add('parent', version.parent === null ? 'none: trained from scratch' : `version ${version.parent}`);
  if (facts.cycle?.parentReason != null) add('', facts.cycle.parentReason);
  add('cycle', describeCycle(facts));
  add('strategy', [lineage.strategy ?? 'unknown', ...reasonOf(lineage.training?.reasons)].join(': '));
  add('data', describeData(facts));
  add('config', (lineage.configHash ?? 'unknown').slice(0, 12));
  for (const line of configChanges(facts)) add('', line);
  add('code', lineage.codeVersion ?? 'unknown');
  add('environment', environment(lineage.environment));
  add('seed', `${String(lineage.seed ?? 'unknown')}, threads ${String(lineage.threads ?? 'unknown')}`);
  return lines.join('\n');
}

function describeCycle({ cycle, version }: VersionFacts): string {
  if (cycle === null) return 'none';
  const ended = cycle.outcome === null ? 'is running' : [cycle.outcome, ...reasonOf(cycle.reasons)].join(': ');
  return `${cycle.cycleId}, started ${time(cycle.startedAt)} by ${cycle.trigger}; registered ${time(version.createdAt)}; ${ended}`;
}

function configChanges({ version, changes }: ChangedVersion): string[] {
  if (version.parent === null || changes === null) return [];
  if (changes.config === null) return [`that of version ${version.parent} is not on record`];
  const lines = describeConfigChanges(changes);
  return lines.length === 0 ? [`as of version ${version.parent}`] : lines;
}

function features({ version }: VersionFacts): string {
  if (version.features.length === 0) return '';
  const names = version.features.map(({ name, kind }) => `${name} (${kind})`);
  return `features (${count(names.length)}): ${names.join(', ')}`;
}

function artifacts({ version, removed }: VersionFacts): string {
  const { lineage } = version;
  const rows = Object.entries({
    model: version.modelSha256,
    checkpoint: version.checkpointSha256,
    'trainer manifest': lineage.trainerManifestSha256,
    snapshot: lineage.snapshotId,
  }).flatMap(([name, sha256]) => (sha256 == null ? [] : [[`  ${name}`, sha256]]));
  if (rows.length === 0) return '';
  return ['artifacts', table(rows), ...removed.map((gone) => `  GONE ${describeRemoved(gone)}`)].join('\n');
}

function describeTraining({ version }: VersionFacts): string {
  const { training, parity } = readMetrics(version.metrics);
  const figures = training.metrics.map(([name, value]) => `${name} ${figure(value)}`);
  const lines = [
    `training: ${training.examples === null ? 'examples not on record' : `${count(training.examples)} examples`}`,
    ...(figures.length === 0 ? [] : [`  ${figures.join(', ')}`]),
    ...(parity === null ? [] : [`  ONNX differs from the trainer by at most ${figure(parity.maxDelta)}`]),
    ...training.warnings.map(({ message }) => `  warning: ${message}`),
  ];
  return lines.join('\n');
}

function describeRoutes({ routes }: VersionFacts): string {
  return routes.length === 0 ? 'never routed' : `routes\n${table([SPAN_HEAD, ...describeSpans(routes)])}`;
}

function describeDecisions(decisions: readonly Decision[]): string {
  if (decisions.length === 0) return '';
  const rows = decisions.map(({ at, kind, who, why, details }) => [
    time(at),
    typeof details['alias'] === 'string' ? `${kind} ${details['alias']}` : kind,
    who,
    why,
  ]);
  return `decisions\n${table([['at', 'what', 'by', 'why'], ...rows])}`;
}

function environment(of: Record<string, string> | undefined): string {
  const entries = Object.entries(of ?? {}).map(([name, value]) => `${name} ${value}`);
  return entries.length === 0 ? 'not on record' : entries.join(', ');
}

function reasonOf(reasons: readonly { message: string }[] | undefined): string[] {
  return reasons?.[0] === undefined ? [] : [reasons[0].message];
}

function sections(parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join('\n\n');
}
