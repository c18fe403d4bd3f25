import type { TrainChallengerResult } from '../activities/train-challenger.ts';
import { count, decimal, difference } from '../policy/figures.ts';
import type { Parity } from '../policy/parity.ts';
import type { TrainingDecision } from '../policy/training-strategy.ts';
import type { TrainingSummary } from './messages.ts';

/**
 * What operators see of a training: its figures without the artifacts.
 *
 * @param of.decision how the cycle wanted it trained; left out by older builds.
 * @param of.parity null until compared.
 */
export function summariseTraining(of: {
  training: TrainChallengerResult;
  decision: TrainingDecision | undefined;
  parity: Parity | null;
}): TrainingSummary {
  const { decision, parity } = of;
  const { strategy, examples, metrics, warnings } = of.training;
  return {
    strategy,
    wanted: decision?.strategy ?? null,
    why: decision?.reasons[0]?.message ?? null,
    examples,
    metrics,
    warnings,
    parity: parity === null ? null : { rows: parity.rows, maxDelta: parity.maxDelta, meanDelta: parity.meanDelta },
  };
}

/** One sentence: `incremental (why), 12,000 examples, seconds 3.1, ...; ONNX differs by at most 1e-7 on 10,000 rows`. */
export function describeTraining(summary: TrainingSummary): string {
  const { examples, metrics, warnings, parity } = summary;
  const figures = [
    describeStrategy(summary),
    ...(examples === null ? [] : [`${count(examples)} examples`]),
    ...Object.entries(metrics).map(([name, value]) => `${name} ${value === null ? 'unknown' : figure(value)}`),
    ...(warnings.length === 0 ? [] : [`warnings ${warnings.map(({ code }) => code).join(' ')}`]),
  ].join(', ');
  return parity === null ? figures : `${figures}; ${describeParity(parity)}`;
}

function describeStrategy({ strategy, wanted, why }: TrainingSummary): string {
  const notes = [
    ...(wanted === null || wanted === strategy ? [] : [`where ${wanted} was wanted`]),
    ...(why === null ? [] : [why]),
  ];
  return notes.length === 0 ? strategy : `${strategy} (${notes.join('; ')})`;
}

function describeParity({ rows, maxDelta }: NonNullable<TrainingSummary['parity']>): string {
  if (maxDelta === null) return 'ONNX not compared';
  return `ONNX differs by at most ${difference(maxDelta)} on ${count(rows)} rows`;
}

const figure = (value: number): string => (Math.abs(value) >= 1_000 ? count(value) : decimal(value));
