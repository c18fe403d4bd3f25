import { compareProfiles, type ColumnComparison, type Profile } from '../profile/index.ts';
import { driftStrength, type DriftStrength } from '../../policy/drift/strength.ts';
import { decideDrift } from '../../policy/drift/effects.ts';
import type { CheckContext, Finding, Reference } from './check.ts';
import { driftReferences, incomparable, shapeOf, type DriftShape, type NamedReference } from './drift-references.ts';
import { precedentsOf } from './precedents.ts';
import { ratio } from './wording.ts';

/** A second measure must reach this share of what blocks: one alone may be a quirk of its bins. */
const SUPPORT = 0.8;

interface Moved {
  name: string;
  strength: DriftStrength;
  shape: DriftShape;
  against: string;
  /** How far it moved between earlier snapshots, in the same multiples; null when that is not known. */
  precedent: number | null;
}

/**
 * The features are distributed as they were (data drift). Effect sizes decide, significance over all features (Holm) only
 * guards against small samples. A feature blocks when it has suddenly left yesterday by much, and by much more than it
 * moved the day before; what moves slowly or by the season warns, since training on it is the cure, and what moves every day
 * passes.
 */
export function checkDriftFeatures(context: CheckContext): Finding {
  const { warnAt, blockAt, precedent } = context.config.checks.driftFeatures;
  const threshold = { warnAt, blockAt, precedent };
  const nothing = incomparable(context, threshold);
  if (nothing !== null || context.profile === null) return nothing as Finding;
  const names = context.config.features.map(({ name }) => name);
  const compared = driftReferences(context).map((named) => ({
    ...named,
    columns: movedColumns(named.reference.profile, context.profile as Profile, names),
  }));
  const numbers: Finding['numbers'] = {};
  const moved: Moved[] = [];
  for (const name of names) {
    const found = compared.flatMap(({ kind, name: against, columns }) => {
      const strength = columns.get(name);
      return strength === undefined ? [] : [{ kind, against, strength }];
    });
    const [first] = found;
    if (first === undefined) continue;
    Object.assign(numbers, { [`drift.${name}`]: first.strength.largest, [`psi.${name}`]: first.strength.psi });
    const left = found.filter(({ strength }) => strength.significant && strength.largest >= warnAt);
    const kinds = (list: readonly { kind: NamedReference['kind'] }[]) => new Set(list.map(({ kind }) => kind));
    const [strongest] = left;
    if (strongest === undefined) continue;
    moved.push({
      ...{ name, strength: strongest.strength, against: strongest.against },
      shape: shapeOf(kinds(left), kinds(found)),
      precedent: moveBefore(context, name),
    });
  }
  return conclude({ moved, numbers, threshold, compared: compared.map(({ name }) => name) });
}

function conclude(of: {
  moved: Moved[];
  numbers: Finding['numbers'];
  threshold: { warnAt: number; blockAt: number; precedent: number };
  compared: string[];
}): Finding {
  const { moved, numbers, threshold } = of;
  const steady = moved.filter(
    ({ strength, shape, precedent }) =>
      shape !== 'gradual' && strength.largest <= threshold.precedent * (precedent ?? 0),
  );
  const unusual = moved.filter((one) => !steady.includes(one));
  const blocking = unusual.filter(
    ({ strength, shape, precedent }) =>
      shape === 'sudden' &&
      precedent !== null &&
      strength.largest >= threshold.blockAt &&
      strength.second >= SUPPORT * threshold.blockAt,
  );
  numbers['moved'] = unusual.length;
  numbers['steady'] = steady.length;
  if (unusual.length === 0) {
    const alike = `no feature is distributed otherwise than in ${of.compared.join(', ')}`;
    const message =
      steady.length === 0 ? alike : `${steady.map(sentence).join('; ')}: as usual; of the others ${alike}`;
    return { status: 'pass', numbers, threshold, message };
  }
  const told = (blocking.length > 0 ? blocking : unusual).map(sentence).join('; ');
  if (blocking.length === 0) return { status: 'warn', numbers, threshold, message: told };
  return {
    status: 'block',
    numbers,
    threshold,
    message: `${told}: look at what writes ${blocking.length === 1 ? 'it' : 'them'}. If the change is real, silence "drift.features" until the next season`,
  };
}

function sentence({ name, strength, shape, against, precedent }: Moved): string {
  const before =
    precedent === null
      ? 'how much it moves is not known before a season has passed'
      : `up to ${ratio(precedent)} between earlier snapshots`;
  return `"${name}" drifted (${shape}) from ${against}: ${strength.measures}, ${ratio(strength.largest)} times the customary limits, ${before}`;
}

/** By name, the features that both profiles can tell of. */
function movedColumns(reference: Profile, current: Profile, names: readonly string[]): Map<string, DriftStrength> {
  const comparable = compareProfiles(reference, current, { columns: names }).filter(
    (column): column is Exclude<ColumnComparison, { kind: 'impossible' }> => column.kind !== 'impossible',
  );
  const significant = decideDrift(comparable.map(({ comparison }) => comparison));
  return new Map(
    comparable.map(({ name, comparison }, index) => [name, driftStrength(comparison, significant[index] === true)]),
  );
}

/** How far the feature moved at most between earlier snapshots; null while these do not tell. */
function moveBefore(context: CheckContext, name: string): number | null {
  const { pairs, known } = precedentsOf(context);
  return known ? Math.max(0, ...pairs.map(({ before, now }) => moveBetween(before, now, name))) : null;
}

function moveBetween(from: Reference, to: Reference, name: string): number {
  const [column] = compareProfiles(from.profile, to.profile, { columns: [name] });
  return column === undefined || column.kind === 'impossible' ? 0 : driftStrength(column.comparison, true).largest;
}
