import { twoProportionZ } from '../../policy/statistics.ts';
import type { Profile } from '../profile/index.ts';
import type { CheckContext, Finding } from './check.ts';
import { driftReferences, incomparable, shapeOf, type NamedReference } from './drift-references.ts';
import { precedentsOf } from './precedents.ts';
import { ratio, whole } from './wording.ts';

/**
 * The label is as frequent as it was (prior drift). Blocks only what came suddenly: a fall, or what no model can be the
 * reason of.
 */
export function checkDriftLabel(context: CheckContext): Finding {
  const { warnRatio, blockRatio, hardRatio, minZ } = context.config.checks.driftLabel;
  const threshold = { warnRatio, blockRatio, hardRatio, minZ };
  const nothing = incomparable(context, threshold);
  if (nothing !== null) return nothing;
  const now = positives(context.profile);
  const compared = driftReferences(context).flatMap(({ kind, name, reference }) => {
    const was = positives(reference.profile);
    return was === null || now === null ? [] : [{ kind, name, was, ...change(was, now) }];
  });
  const [first] = compared;
  if (now === null || first === undefined) {
    const message = 'no row has a label, here or in what it is compared with';
    return { status: 'block', numbers: {}, threshold, message };
  }
  const rate = now.successes / now.n;
  const left = compared.filter(({ times, z }) => times >= warnRatio && Math.abs(z) >= minZ);
  const kinds = (of: readonly { kind: NamedReference['kind'] }[]) => new Set(of.map(({ kind }) => kind));
  const shape = shapeOf(kinds(left), kinds(compared));
  const told = left[0] ?? first;
  const before = told.was.successes / told.was.n;
  const numbers = { rate, before, ratio: rate / before, z: told.z, rows: now.n };
  const found = `${ratio(rate)} of ${whole(now.n)} rows are positive, ${ratio(before)} in ${told.name}`;
  if (left.length === 0) {
    return { status: 'pass', numbers, threshold, message: `${found}; a factor of up to ${ratio(warnRatio)} expected` };
  }
  // A better model is clicked more, and the first one much more: only a fall is most likely lost feedback.
  const lost = rate < before && precedentsOf(context).known;
  const blocks = shape === 'sudden' && told.times >= (lost ? blockRatio : hardRatio);
  return {
    status: blocks ? 'block' : 'warn',
    numbers,
    threshold,
    message:
      `${found}: a ${shape} change by a factor of ${ratio(told.times)}, up to ${ratio(warnRatio)} expected` +
      (blocks
        ? '. Look at the feedback that labels are made from; if readers really changed, silence "drift.label"'
        : ''),
  };
}

interface Counted {
  successes: number;
  n: number;
}

function positives(profile: Profile | null): Counted | null {
  const label = profile?.columns['label'];
  if (label?.kind !== 'numeric' || label.mean === null || label.count === 0) return null;
  return { successes: Math.round(label.mean * label.count), n: label.count };
}

/** `times` is at least 1: the larger rate over the smaller; infinite when one is nought. */
function change(was: Counted, now: Counted): { times: number; z: number } {
  const [before, rate] = [was.successes / was.n, now.successes / now.n];
  const times = before === rate ? 1 : Math.max(before / rate, rate / before);
  return { times, z: before === rate ? 0 : twoProportionZ(was, now) };
}
