import type { Feature } from '../../config/schema.ts';
import type { ColumnProfile, Profile } from '../profile/index.ts';
import type { CheckContext, Finding, Reference } from './check.ts';
import { precedentsOf, type Precedents } from './precedents.ts';
import { season } from './wording.ts';

/** One feature in the fresh rows and in the rows they are compared with; both columns are of the feature's kind. */
export interface FeaturePair {
  feature: Feature;
  now: Profile;
  before: Profile;
  column: ColumnProfile;
  columnBefore: ColumnProfile;
}

/** What a comparison found in one feature. */
export interface Judgement {
  status: 'pass' | 'warn' | 'block';
  /** The larger, the more it changed: the largest is told first. */
  effect: number;
  /** Named without the feature: `missing` is reported as `missing.NAME`. */
  numbers: Record<string, number | string | null>;
  /** `"NAME" is missing in 0.60 of the rows, 0.01 before`. */
  says: string;
  /** What growing or changing traffic may look like: it blocks only where earlier snapshots tell that it is unusual here. */
  soft?: boolean;
}

const TOLD = 5;

export interface UpstreamReference {
  reference: Reference;
  /** For messages. */
  name: string;
}

/**
 * What upstream checks may compare with, the best first: the same phase one season back, what the champion was trained on,
 * the newest snapshot that passed. Empty before any snapshot has passed.
 */
export function upstreamReferences({ config, references }: CheckContext): UpstreamReference[] {
  const found: [Reference | null | undefined, string][] = [
    [references.season, `the same hours ${season(config.snapshot.season)} before`],
    [references.training, 'the data that the champion was trained on'],
    [references.recent[0], 'the newest snapshot that passed'],
  ];
  return found.flatMap(([reference, name]) => (reference == null ? [] : [{ reference, name }]));
}

/**
 * Compares each feature with the reference, and says the worst. A feature that `judge` can not judge (null: too few values)
 * and one that the reference does not know are named and block nothing; one that the fresh profile lacks blocks.
 *
 * @param input.expected what should hold, with the limits, as in `a rise of at most 0.10`.
 * @param input.advice what to do about it when it does not.
 */
export function compareFeatures(
  context: CheckContext,
  input: {
    threshold: Record<string, number>;
    kind?: Feature['kind'];
    judge: (pair: FeaturePair) => Judgement | null;
    expected: string;
    advice: string;
  },
): Finding {
  const { threshold, expected } = input;
  const features = context.config.features.filter(({ kind }) => input.kind === undefined || kind === input.kind);
  const { profile } = context;
  if (features.length === 0) {
    return { status: 'pass', numbers: { features: 0 }, threshold, message: 'the line has no feature of this kind' };
  }
  if (profile === null) {
    return { status: 'block', numbers: {}, threshold, message: 'there are no fresh rows to look at' };
  }
  const [compared] = upstreamReferences(context);
  if (compared === undefined) {
    const message = 'no earlier snapshot has passed its checks, so there is nothing to compare with yet';
    return { status: 'notApplicable', numbers: {}, threshold, message };
  }
  const precedents = precedentsOf(context);
  const judged: (Judgement & { name: string })[] = [];
  const unjudged: string[] = [];
  for (const feature of features) {
    const column = profile.columns[feature.name];
    const columnBefore = compared.reference.profile.columns[feature.name];
    if (column?.kind !== feature.kind) {
      const message = `the profile of the fresh rows lacks "${feature.name}": take the snapshot again`;
      return { status: 'block', numbers: {}, threshold, message };
    }
    const pair = { feature, now: profile, before: compared.reference.profile, column };
    const judgement = columnBefore?.kind === feature.kind ? input.judge({ ...pair, columnBefore }) : null;
    if (judgement === null) unjudged.push(feature.name);
    else judged.push({ ...inTheLightOf(precedents, { feature, judgement, judge: input.judge }), name: feature.name });
  }
  return findingOf({ judged, unjudged, threshold, expected, advice: input.advice, against: compared.name });
}

/** A change of up to this many times the largest between earlier snapshots is as usual. */
const USUAL = 2;

/** What may be growth is no fault when it happened between earlier snapshots as well, and blocks only where they are known. */
function inTheLightOf(
  { pairs, known }: Precedents,
  of: { feature: Feature; judgement: Judgement; judge: (pair: FeaturePair) => Judgement | null },
): Judgement {
  const { feature, judgement, judge } = of;
  if (judgement.status === 'pass' || judgement.soft !== true) return judgement;
  const usual = pairs.some(({ before, now }) => {
    const column = now.profile.columns[feature.name];
    const columnBefore = before.profile.columns[feature.name];
    if (column?.kind !== feature.kind || columnBefore?.kind !== feature.kind) return false;
    const earlier = judge({ feature, now: now.profile, before: before.profile, column, columnBefore });
    return earlier !== null && rank(earlier) >= rank(judgement) && judgement.effect <= USUAL * earlier.effect;
  });
  if (usual) return { ...judgement, status: 'pass', says: `${judgement.says} (as between earlier snapshots)` };
  return judgement.status === 'block' && !known
    ? { ...judgement, status: 'warn', says: `${judgement.says} (whether that is usual here is not known yet)` }
    : judgement;
}

function findingOf(input: {
  judged: (Judgement & { name: string })[];
  unjudged: string[];
  threshold: Record<string, number>;
  expected: string;
  advice: string;
  against: string;
}): Finding {
  const { judged, unjudged, threshold, expected, advice, against } = input;
  const numbers: Finding['numbers'] = { features: judged.length, unjudged: unjudged.length };
  for (const { name, numbers: own } of judged) {
    for (const [key, value] of Object.entries(own)) numbers[`${key}.${name}`] = value;
  }
  const left = unjudged.length === 0 ? '' : `; too few values to compare, or none before: ${listed(unjudged)}`;
  const worst = judged.toSorted((a, b) => rank(b) - rank(a) || b.effect - a.effect);
  const [first] = worst;
  if (first === undefined) {
    return { status: 'pass', numbers, threshold, message: `nothing to compare with ${against}${left}` };
  }
  if (first.status === 'pass') {
    const message = `compared with ${against}, ${first.says}: the largest change of ${String(judged.length)} features, ${expected} expected${left}`;
    return { status: 'pass', numbers, threshold, message };
  }
  const faulty = worst.filter(({ status }) => status !== 'pass');
  const more = faulty.length > TOLD ? `; and ${String(faulty.length - TOLD)} more features` : '';
  const told = faulty
    .slice(0, TOLD)
    .map(({ says }) => says)
    .join('; ');
  return {
    status: first.status,
    numbers,
    threshold,
    message: `compared with ${against}, ${told}${more}; ${expected} expected: ${advice}${left}`,
  };
}

const RANK = { pass: 0, warn: 1, block: 2 } as const;

function rank({ status }: Judgement): number {
  return RANK[status];
}

function listed(names: readonly string[]): string {
  const told = names
    .slice(0, TOLD)
    .map((name) => `"${name}"`)
    .join(', ');
  return names.length > TOLD ? `${told} and ${String(names.length - TOLD)} more` : told;
}

/**
 * How many standard errors a share rose, from counts; negative when it fell. Adding one success and one failure to each
 * side keeps it meaningful at shares of 0 and 1 (Agresti and Caffo, The American Statistician 54, 2000).
 */
export function riseInErrors(now: { hits: number; rows: number }, before: { hits: number; rows: number }): number {
  const shareOf = ({ hits, rows }: { hits: number; rows: number }): number => (hits + 1) / (rows + 2);
  const variance = (share: number, rows: number): number => (share * (1 - share)) / (rows + 2);
  const [a, b] = [shareOf(now), shareOf(before)];
  return (a - b) / Math.sqrt(variance(a, now.rows) + variance(b, before.rows));
}

/** A rise below this many standard errors is noise: rows of one user come together, so errors are wider than they look. */
export const NOISE = 4;
