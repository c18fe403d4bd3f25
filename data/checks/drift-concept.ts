import { OTHER_CATEGORY, quantileEdges } from '../../policy/drift/binning.ts';
import { relationShift, type BinnedLabels, type RelationShift } from '../../policy/drift/relation.ts';
import { numericSample, type Profile } from '../profile/index.ts';
import type { CheckContext, Finding } from './check.ts';
import { sharedVersion } from './scored-rows.ts';
import { driftReferences, incomparable, shapeOf, type NamedReference } from './drift-references.ts';
import { ratio } from './wording.ts';

const BINS = 10;
/** Categories with a bin of their own; the others are one. */
const CATEGORIES = 100;

interface Shifted extends RelationShift {
  kind: NamedReference['kind'];
  against: string;
  column: string;
}

/**
 * The label depends on the features, and on the score it was served with, as it did (concept drift): by bin of each column
 * the label rate is compared with the reference's, beyond what the rate of all rows moved. What is shuffled, inverted or
 * joined to the wrong rows shows here although every distribution is as it was. Reads the profiles' samples of rows.
 */
export function checkDriftConcept(context: CheckContext): Finding {
  const { warnEffect, blockEffect, minZ } = context.config.checks.driftConcept;
  const threshold = { warnEffect, blockEffect, minZ };
  const nothing = incomparable(context, threshold);
  const { profile } = context;
  if (nothing !== null || profile === null) return nothing as Finding;
  const columns = [...context.config.features.map(({ name }) => name), 'score'];
  const shifts = driftReferences(context).flatMap(({ kind, name, reference }) =>
    columns.flatMap((column): Shifted[] => {
      const shift = shiftOf(column, reference.profile, profile);
      return shift === null ? [] : [{ ...shift, kind, against: name, column }];
    }),
  );
  const [first] = shifts;
  if (first === undefined) {
    const message = 'too few rows of each value to compare label rates by feature';
    return { status: 'warn', numbers: { judged: 0 }, threshold, message };
  }
  const ofFirst = shifts.filter(({ kind }) => kind === first.kind);
  const numbers: Finding['numbers'] = { judged: ofFirst.length };
  for (const { column, effect } of ofFirst) numbers[`effect.${column}`] = effect;
  const left = shifts.filter(({ effect, z }) => effect >= warnEffect && z >= minZ);
  const worst = left.toSorted((a, b) => b.effect - a.effect)[0];
  if (worst === undefined) {
    const most = ofFirst.reduce((a, b) => (b.effect > a.effect ? b : a));
    const message = `the label depends on every feature as it did in ${first.against}; by "${most.column}" its rate moved most, by ${ratio(most.effect)}, under ${ratio(warnEffect)} expected`;
    return { status: 'pass', numbers, threshold, message };
  }
  const ofWorst = (list: readonly Shifted[]) =>
    new Set(list.filter(({ column }) => column === worst.column).map(({ kind }) => kind));
  const shape = shapeOf(ofWorst(left), ofWorst(shifts));
  const blocks = shape === 'sudden' && worst.effect >= blockEffect;
  return {
    status: blocks ? 'block' : 'warn',
    numbers,
    threshold,
    message:
      `by "${worst.column}" the label rate moved by ${ratio(worst.effect)} from ${worst.against} (${shape}), beyond what all rows moved; under ${ratio(warnEffect)} expected` +
      (blocks
        ? ': labels or this feature may be joined to the wrong rows. Nothing that trains on it can be trusted'
        : ''),
  };
}

/** Null where the column can not be compared: absent on a side, without rows in bins, or scored by other versions. */
function shiftOf(column: string, reference: Profile, current: Profile): RelationShift | null {
  const kind = current.columns[column]?.kind;
  if (kind === undefined || reference.columns[column]?.kind !== kind) return null;
  const only = column === 'score' ? sharedVersion(reference, current) : undefined;
  if (only === null) return null;
  let binned: ((profile: Profile) => ReadonlyMap<string, BinnedLabels>) | null;
  if (kind === 'numeric') {
    const edges = edgesOf(reference, column);
    binned =
      edges === null ? null : (profile) => byBin(profile, only, (row) => numericBin(profile, column, row, edges));
  } else {
    const known = new Set(heaviest(reference, column));
    binned = (profile) => byBin(profile, only, (row) => categoryBin(profile, column, row, known));
  }
  if (binned === null) return null;
  const shift = relationShift(binned(reference), binned(current));
  return Number.isNaN(shift.effect) ? null : shift;
}

function edgesOf(reference: Profile, column: string): Float64Array | null {
  const values = numericSample(reference, column);
  return values.length === 0 ? null : Float64Array.from(quantileEdges(values, BINS));
}

function heaviest(reference: Profile, column: string): string[] {
  const found = reference.columns[column];
  return found?.kind === 'categorical' ? found.heavy.slice(0, CATEGORIES).map(([value]) => value) : [];
}

function numericBin(profile: Profile, column: string, row: number, edges: Float64Array): string {
  const value = profile.sample.numeric[column]?.[row] ?? NaN;
  if (Number.isNaN(value)) return 'missing';
  let bin = 0;
  while (bin < edges.length && (edges[bin] as number) < value) bin += 1;
  return String(bin);
}

function categoryBin(profile: Profile, column: string, row: number, known: ReadonlySet<string>): string {
  const value = profile.sample.categorical[column]?.[row] ?? null;
  return value === null ? 'missing' : known.has(value) ? value : OTHER_CATEGORY;
}

function byBin(profile: Profile, version: string | undefined, bin: (row: number) => string): Map<string, BinnedLabels> {
  const labels = profile.sample.numeric['label'] ?? new Float64Array();
  const versions = profile.sample.categorical['version'];
  const bins = new Map<string, BinnedLabels>();
  for (const [row, label] of labels.entries()) {
    if (Number.isNaN(label) || (version !== undefined && versions?.[row] !== version)) continue;
    const name = bin(row);
    const counted = bins.get(name) ?? { rows: 0, positives: 0 };
    bins.set(name, { rows: counted.rows + 1, positives: counted.positives + label });
  }
  return bins;
}
