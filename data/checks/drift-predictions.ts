import { compareNumeric } from '../../policy/drift/compare.ts';
import { driftStrength, type DriftStrength } from '../../policy/drift/strength.ts';
import type { CheckContext, Finding } from './check.ts';
import { driftReferences, incomparable, shapeOf, type NamedReference } from './drift-references.ts';
import { scoredRows, sharedVersion } from './scored-rows.ts';
import { ratio, whole } from './wording.ts';

/** Fewer scored rows on a side say nothing. */
const MIN_ROWS = 100;

/**
 * The version that serves scores as it did (prediction drift): its logged scores against its own in the references. A
 * version that served only here has nothing to be compared with.
 */
export function checkDriftPredictions(context: CheckContext): Finding {
  const { warnAt, blockAt } = context.config.checks.driftPredictions;
  const threshold = { warnAt, blockAt };
  const nothing = incomparable(context, threshold);
  const { profile } = context;
  if (nothing !== null || profile === null) return nothing as Finding;
  const compared: {
    kind: NamedReference['kind'];
    name: string;
    version: string;
    rows: number;
    strength: DriftStrength;
  }[] = [];
  for (const { kind, name, reference } of driftReferences(context)) {
    const version = sharedVersion(reference.profile, profile);
    if (version === null) continue;
    const [was, now] = [scoredRows(reference.profile, version).scores, scoredRows(profile, version).scores];
    if (Math.min(was.length, now.length) < MIN_ROWS) continue;
    const comparison = compareNumeric(was, now);
    compared.push({ kind, name, version, rows: now.length, strength: driftStrength(comparison, comparison.drifted) });
  }
  const [first] = compared;
  if (first === undefined) {
    const message = `no version has ${whole(MIN_ROWS)} logged scores both here and in what it could be compared with`;
    return { status: 'pass', numbers: { compared: 0 }, threshold, message };
  }
  const left = compared.filter(({ strength }) => strength.significant && strength.largest >= warnAt);
  const told = left[0] ?? first;
  const { strength } = told;
  const numbers = { rows: told.rows, version: told.version, drift: strength.largest, psi: strength.psi };
  const found = `scores of version ${told.version} against ${told.name}: ${strength.measures}, ${ratio(strength.largest)} times the customary limits`;
  if (left.length === 0) return { status: 'pass', numbers, threshold, message: found };
  const kinds = (of: readonly { kind: NamedReference['kind'] }[]) => new Set(of.map(({ kind }) => kind));
  const shape = shapeOf(kinds(left), kinds(compared));
  const blocks = shape === 'sudden' && strength.second >= blockAt;
  return {
    status: blocks ? 'block' : 'warn',
    numbers,
    threshold,
    message:
      `${found} (${shape}): the same model answers otherwise, so its inputs changed` +
      (blocks ? '. Look for a feature that requests no longer carry, or carry in another form' : ''),
  };
}
