import type { Command } from 'commander';
import { loadLineConfig } from '../../config/load.ts';
import type { GateConfig } from '../../config/schema.ts';
import { readMetrics, type RecordedMetrics } from '../../data/card/recorded.ts';
import { count } from '../../policy/figures.ts';
import { LEVEL, looksOf } from '../../policy/gate/rule.ts';
import { decideGate, type GateVerdict } from '../../policy/gate.ts';
import { sizeThatDetects } from '../../policy/power.ts';
import { resolveVersion } from '../../store/aliases.ts';
import type { Database } from '../../store/database.ts';
import { readLine } from '../../store/lines.ts';
import { INPUT_ORDER_VERSION, type VersionRecord } from '../../store/types.ts';
import { listVersions } from '../../store/versions.ts';
import { explainGate } from './gate-explain.ts';
import { runs, table } from './run-command.ts';

/** `gate explain CYCLE`, `gate try CONFIG`. */
export function registerGateCommands(program: Command): void {
  const gate = program
    .command('gate')
    .description('why challengers passed or not, and what other thresholds would say');

  runs(
    gate
      .command('explain')
      .description(
        "a cycle's verdict: each rule with its numbers, both models' metrics, the worst slices, what followed",
      )
      .argument('<cycle>', 'its id, or a model line for its last cycle'),
    { example: 'gate explain news-feed', work: explainGate },
  );

  runs(
    gate
      .command('try')
      .description('judges what was measured of past versions by the gate of a config; changes nothing')
      .argument('<config>', 'YAML of the line: its gate section is tried on the versions of that line')
      .option('--versions <list>', 'numbers, aliases or ranges: 12,stable or 3..9; all when left out'),
    {
      example: 'gate try stricter.yaml --versions 3..9',
      work: async (access, file: string, { versions: wanted }: { versions?: string }) => {
        const { line, gate: config } = await loadLineConfig(file);
        const db = await access.database();
        await readLine(db, line);
        const versions = await chosenVersions(db, { line, wanted });
        const trials = versions.map((version) => tryGate(version, config));
        return { data: { line, gate: config, trials }, text: describeTrials(trials, { line, file }) };
      },
    },
  );
}

/** One version under another gate. */
export interface Trial {
  version: number;
  champion: number | null;
  /** What its own gate said; null where that is not on record. */
  then: string | null;
  /** Null where what was measured can not be judged; `why` says so. */
  now: GateVerdict | null;
  why: string;
  /** Of its holdout. */
  rows: number | null;
  /** Rows at which a loss of twice the tolerance would be rejected in 80 % of cases; null where nothing tells. */
  detectingRows: number | null;
}

function tryGate({ version, metrics }: VersionRecord, config: GateConfig): Trial {
  const { evaluation: recorded, gate } = readMetrics(metrics);
  const then = gate?.kind ?? null;
  if (recorded.kind !== 'measured') {
    return {
      version,
      champion: null,
      then,
      now: null,
      why: NOT_JUDGED[recorded.kind],
      rows: null,
      detectingRows: null,
    };
  }
  const { evaluation } = recorded;
  const { rows, users, gain } = evaluation.overall;
  const now = decideGate({ evaluation, config, hasChampion: evaluation.champion !== null });
  const standardError = gain?.[config.metric].standardError ?? NaN;
  const level = LEVEL / looksOf(config);
  const detecting = sizeThatDetects({ rows, users, standardError, level }, { margin: config.tolerance });
  return {
    ...{ version, champion: evaluation.champion, then, now, rows },
    why: decidedBy(now),
    detectingRows: detecting?.rows ?? null,
  };
}

const NOT_JUDGED: Record<Exclude<RecordedMetrics['evaluation']['kind'], 'measured'>, string> = {
  none: 'nothing was measured of it',
  older: 'measured by an older build, whose figures do not suffice',
};

/** The rules that came to the verdict. */
function decidedBy({ kind, rules }: GateVerdict): string {
  if (kind === 'pass') return 'every rule';
  return [...new Set(rules.filter((rule) => rule.kind === kind).map(({ rule }) => rule))].join(', ');
}

function describeTrials(trials: Trial[], { line, file }: { line: string; file: string }): string {
  if (trials.length === 0) return `${line} has no version that was trained yet`;
  const size = (rows: number | null | undefined): string => (rows == null ? '-' : count(rows));
  const rows = trials.map(({ version, champion, then, now, why, rows: holdout, detectingRows }) => [
    String(version),
    champion === null ? '-' : String(champion),
    then ?? '-',
    now?.kind ?? 'not judged',
    why,
    size(holdout),
    size(now?.neededRows),
    size(detectingRows),
  ]);
  const head = [
    ...['version', 'champion', 'verdict then', 'now', 'decided by', 'rows'],
    ...['rows that decide', 'rows that detect 2 x tolerance'],
  ];
  const reasons = trials.flatMap(({ version, now }) =>
    now === null || now.kind === 'pass' ? [] : reasonsOf(now).map((message) => `${String(version)}: ${message}`),
  );
  const changed = trials.filter(({ then, now }) => now !== null && then !== null && now.kind !== then).length;
  return [
    table([head, ...rows]),
    ...(reasons.length === 0 ? [] : ['', ...reasons]),
    '',
    `${String(changed)} of ${String(trials.length)} verdicts would differ under ${file}`,
  ].join('\n');
}

/** Of the rules that decided, not of those that would have let it through. */
function reasonsOf({ kind, rules }: GateVerdict): string[] {
  return [...new Set(rules.filter((rule) => rule.kind === kind).map(({ reason }) => reason.message))];
}

/** The versions that are asked for, oldest first; those that were never trained are left out of ranges. */
async function chosenVersions(
  db: Database,
  { line, wanted }: { line: string; wanted: string | undefined },
): Promise<VersionRecord[]> {
  const trained = (await listVersions(db, line)).filter(({ version }) => version !== INPUT_ORDER_VERSION).reverse();
  if (wanted === undefined) return trained;
  const numbers = new Set<number>();
  for (const part of wanted.split(',').map((text) => text.trim())) {
    const [from = '', to] = part.split('..');
    if (from === '' || to === '') throw new Error(`--versions ${wanted}: expected such as 3,5 or 3..9 or stable`);
    const first = await resolveVersion(db, { line, version: from });
    const last = to === undefined ? first : await resolveVersion(db, { line, version: to });
    if (first > last) throw new Error(`--versions ${part}: ${String(first)} is newer than ${String(last)}`);
    for (const { version } of trained) if (version >= first && version <= last) numbers.add(version);
  }
  if (numbers.size === 0) throw new Error(`--versions ${wanted}: none of them was trained`);
  return trained.filter(({ version }) => numbers.has(version));
}
