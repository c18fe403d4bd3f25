import type { CheckContext, Finding, Reference } from './check.ts';
import { season } from './wording.ts';

/** An earlier stretch that the fresh rows are compared with. */
export interface NamedReference {
  kind: 'season' | 'week' | 'training';
  /** For messages: `the same phase a day before`. */
  name: string;
  reference: Reference;
}

/**
 * The references there are, the one that decides first: yesterday before last week before what the champion was trained
 * on. The same snapshot is named once.
 */
export function driftReferences({ config, references }: CheckContext): NamedReference[] {
  const named: [NamedReference['kind'], string, Reference | null][] = [
    ['season', `the same phase ${season(config.snapshot.season)} before`, references.season],
    ['week', 'the same phase a week before', references.week],
    ['training', 'what the champion was trained on', references.training],
  ];
  const seen = new Set<string>();
  return named.flatMap(([kind, name, reference]) => {
    const key = reference?.snapshotIds.join();
    if (reference === null || key === undefined || seen.has(key)) return [];
    seen.add(key);
    return [{ kind, name, reference }];
  });
}

/**
 * How a column moved, by which references it has left: `sudden` (yesterday too), `gradual` (only what the champion was
 * trained on), `seasonal` (yesterday, but not last week).
 */
export type DriftShape = 'sudden' | 'gradual' | 'seasonal';

export function shapeOf(
  left: ReadonlySet<NamedReference['kind']>,
  known: ReadonlySet<NamedReference['kind']>,
): DriftShape {
  if (known.has('season') && !left.has('season')) return 'gradual';
  if (left.has('season') && known.has('week') && !left.has('week')) return 'seasonal';
  return 'sudden';
}

/** The finding when there is nothing to compare, or nothing to compare with; null when there is both. */
export function incomparable(context: CheckContext, threshold: Finding['threshold']): Finding | null {
  if (context.profile === null) {
    return { status: 'block', numbers: {}, threshold, message: 'there are no fresh rows to compare' };
  }
  if (driftReferences(context).length === 0) {
    const message = 'no earlier snapshot that passed can be compared with: the next cycles will have this one';
    return { status: 'notApplicable', numbers: {}, threshold, message };
  }
  return null;
}
