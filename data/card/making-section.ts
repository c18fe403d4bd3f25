import { formatDuration } from '../../config/duration.ts';
import { count } from '../../policy/figures.ts';
import type { VersionCard } from './card.ts';
import { paragraph, table, type Block, type Inline, type Section } from './document.ts';
import { figure, sentence, when } from './wording.ts';

/** How it was made, and how to make it again. */
export function makingSection(card: VersionCard): Section[] {
  const { version, metrics } = card;
  const { lineage } = version;
  if (version.version === 0) return [];
  const { training } = metrics;
  const command = `freshet reproduce ${version.line} ${String(version.version)}`;
  return [
    {
      title: 'How it was made',
      blocks: [
        ...how(card),
        { kind: 'facts', facts: recipe(card) },
        ...table(
          'What the trainer measured',
          ['figure', '#value'],
          [
            ...(training.examples === null ? [] : [['examples', count(training.examples)]]),
            ...training.metrics.map(([name, value]) => [name, figure(value)]),
          ],
        ),
        ...training.warnings.map(({ code, message }) => paragraph([{ code }, ` ${sentence(message)}`], 'warn')),
        {
          kind: 'details',
          summary: 'Environment, files and the phases of its cycle',
          blocks: [...environment(lineage.environment ?? {}), ...files(card), ...phases(card)],
        },
        ...gone(card),
        paragraph('To train it again from its lineage and compare:'),
        { kind: 'code', text: command },
      ],
    },
  ];
}

function how({ version: { lineage } }: VersionCard): Block[] {
  const { strategy, training } = lineage;
  if (strategy === undefined) return [paragraph('How it was trained is not on record.', 'warn')];
  const wanted =
    training === undefined || training.strategy === strategy ? '' : `, where ${training.strategy} was wanted`;
  const why = training?.reasons.map(({ message }) => sentence(message)).join(' ') ?? '';
  const repair = training?.repair == null ? '' : ' The layers of its parent were shrunk and perturbed before.';
  return [paragraph([{ strong: `Trained: ${strategy}` }, `${wanted}. ${why}${repair}`])];
}

function recipe({ version, config, cycle }: VersionCard): [string, Inline][] {
  const { lineage } = version;
  const rates =
    config === null
      ? null
      : `learning rate ${figure(config.training.learningRate)}, linear part ${figure(config.training.wideLearningRate)}, hidden layers ${config.training.hidden.join(', ')}`;
  const known: [string, Inline | null | undefined][] = [
    ['parent', lineage.parent == null ? 'none' : `version ${String(lineage.parent)}`],
    ['started by', cycle?.trigger],
    ['settings', rates],
    [
      'seed',
      lineage.seed === undefined
        ? null
        : `${String(lineage.seed)}; ${lineage.threads === 1 ? 'one thread' : `${String(lineage.threads ?? 'unknown')} threads`}`,
    ],
    ['code', lineage.codeVersion === undefined ? null : { code: lineage.codeVersion }],
    ['config', lineage.configHash === undefined ? null : { code: lineage.configHash.slice(0, 12) }],
    ['cycle', lineage.cycleId === undefined ? null : { code: lineage.cycleId }],
    ['run', lineage.runId === undefined ? null : [{ code: lineage.workflowId ?? '' }, ' / ', { code: lineage.runId }]],
  ];
  return known.flatMap(([name, value]) => (value == null ? [] : [[name, value] satisfies [string, Inline]]));
}

/** What retention removed: who misses a file learns here why. */
function gone({ removed }: VersionCard): Block[] {
  return removed.map(({ what, why, removedAt }) =>
    paragraph(`Removed by retention, ${when(removedAt)}: ${what} (${why}).`, 'warn'),
  );
}

function environment(of: Record<string, string>): Block[] {
  return table(
    'Environment of the trainer',
    ['what', 'value'],
    Object.entries(of).map(([name, value]) => [name, value]),
  );
}

function files({ version }: VersionCard): Block[] {
  const { lineage, modelSha256, checkpointSha256 } = version;
  const named: [string, string | null | undefined][] = [
    ['model.onnx', modelSha256],
    ['checkpoint.pt', checkpointSha256],
    ['snapshot (manifest)', lineage.snapshotId],
    ["trainer's manifest", lineage.trainerManifestSha256],
    ['predictions.parquet', lineage.predictionsSha256],
    ['result.json', lineage.resultSha256],
  ];
  return table(
    'Files by sha256, as they were',
    ['file', 'sha256'],
    named.flatMap(([name, sha256]) => (sha256 == null ? [] : [[name, { code: sha256 }]])),
  );
}

function phases({ cycle }: VersionCard): Block[] {
  if (cycle === null) return [];
  return table(
    'Phases of its cycle',
    ['phase', 'began', 'took'],
    cycle.phases.map(({ phase, startedAt, endedAt }) => [
      phase,
      when(startedAt),
      endedAt === null ? 'not over' : formatDuration(Math.max(0, Date.parse(endedAt) - Date.parse(startedAt))),
    ]),
  );
}
