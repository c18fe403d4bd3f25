import type { GateConfig } from '../../config/schema.ts';
import { count, decimal, milliseconds } from '../figures.ts';
import { isNumber } from './readings.ts';
import { baselineMissing, notApplicable, reasonOf, type Judged, type RuleVerdict } from './rule.ts';

/** What serving the challenger costs, against one limit. */
interface Cost {
  rule: string;
  code: 'gate.latency' | 'gate.size';
  what: string;
  value: number | null | undefined;
  max: number;
  text: (value: number) => string;
}

/** Time of one scoring: the median, the slow tail, and the median over the champion's. */
export function judgeLatency(judged: Judged): RuleVerdict[] {
  return judged.config.latency.flatMap((asked) => judgeRequestSize(judged, asked));
}

function judgeRequestSize(judged: Judged, asked: GateConfig['latency'][number]): RuleVerdict[] {
  const { candidates, maxP50, maxP99, maxRatio } = asked;
  const found = (judged.evaluation.latency ?? []).find((figures) => figures.candidates === candidates);
  const request = `scoring ${count(candidates)} candidates`;
  const cost = (name: string, what: string, value: number | null | undefined, max: number): Cost => {
    const text = name === 'ratio' ? decimal : milliseconds;
    return { rule: `latency.${String(candidates)}.${name}`, code: 'gate.latency', what, value, max, text };
  };
  const { p50Ms, p99Ms } = found?.challenger ?? {};
  return [
    ...(maxP50 === undefined ? [] : [judgeCost(cost('p50', `The median time of ${request}`, p50Ms, maxP50))]),
    ...(maxP99 === undefined ? [] : [judgeCost(cost('p99', `The 99th percentile of ${request}`, p99Ms, maxP99))]),
    ...(maxRatio === undefined
      ? []
      : [
          judgeRatio(judged, found?.champion?.p50Ms, {
            ...cost('ratio', `The median time of ${request}, over the champion's,`, p50Ms, maxRatio),
          }),
        ]),
  ];
}

/** Of model.onnx. */
export function judgeSize(judged: Judged): RuleVerdict[] {
  const { evaluation, config } = judged;
  const { maxBytes, maxRatio } = config.size ?? {};
  const value = evaluation.modelBytes;
  const cost = { code: 'gate.size', value } as const;
  const bytes = (size: number): string => `${count(size)} bytes`;
  return [
    ...(maxBytes === undefined
      ? []
      : [judgeCost({ ...cost, rule: 'size.bytes', what: 'The size of model.onnx', max: maxBytes, text: bytes })]),
    ...(maxRatio === undefined
      ? []
      : [
          judgeRatio(judged, evaluation.championBytes, {
            ...{ ...cost, rule: 'size.ratio', what: "The size of model.onnx, over the champion's,", max: maxRatio },
            text: decimal,
          }),
        ]),
  ];
}

function judgeRatio({ hasChampion }: Judged, champion: number | null | undefined, cost: Cost): RuleVerdict {
  const { rule, code, value } = cost;
  if (!hasChampion) return notApplicable(rule, `${code}.not-applicable`, 'there is nothing to compare its cost with.');
  if (champion == null) return { rule, kind: 'hold', reason: baselineMissing() };
  return judgeCost({ ...cost, value: isNumber(value) ? value / champion : NaN });
}

function judgeCost({ rule, code, what, value, max, text }: Cost): RuleVerdict {
  if (value == null) {
    const message = `${what} is missing from the evaluation: it is not known.`;
    return { rule, kind: 'hold', reason: reasonOf(`${code}.missing`, message, { max }) };
  }
  if (!isNumber(value) || value <= 0) {
    const message = `${what} is ${String(value)}, which is not what a measurement gives: it is not known.`;
    return { rule, kind: 'hold', reason: reasonOf('gate.not-a-number', message, { value, max }) };
  }
  const blocks = value > max;
  const message = `${what} is ${text(value)}: ${blocks ? 'more than is allowed' : 'allowed'}, at most ${text(max)}.`;
  const reason = reasonOf(`${code}.${blocks ? 'exceeded' : 'pass'}`, message, { value, max });
  return { rule, kind: blocks ? 'reject' : 'pass', reason };
}
