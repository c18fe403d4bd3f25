import type { Feature } from '../../config/schema.ts';
import { freshRows, type CheckContext, type Finding } from './check.ts';
import { ratio, whole } from './wording.ts';

/**
 * Every feature was known before the impression it describes. What the serving log carries was: it is what the model was
 * fed. A feature that is joined afterwards, or whose source says when its values became known, has to show it.
 */
export function checkLeakageTime({ config, manifest }: CheckContext): Finding {
  const { maxLateShare } = config.checks.leakageTime;
  const threshold = { maxLateShare };
  const rows = freshRows(manifest);
  const joined = config.features.filter((feature) => joinOf(feature) !== null);
  const timeless = joined.filter((feature) => joinOf(feature)?.knownAt === undefined);
  const declared = config.features.filter((feature) => joinOf(feature) === null && feature.knownAt !== undefined);
  const numbers: Finding['numbers'] = {
    joined: joined.length,
    joinedWithoutTime: timeless.length,
    withTime: declared.length,
  };
  const faults = timeless.map(
    ({ name }) =>
      `"${name}" is joined after the fact and does not say when its values became known: name the column that does in "joined.knownAt", log the feature when serving, or drop it`,
  );
  for (const { name } of declared) {
    const late = manifest.features.find((feature) => feature.name === name)?.knownAfter ?? null;
    if (late === null) {
      faults.push(`nobody counted whether the values of "${name}" were known in time: take the snapshot again`);
      continue;
    }
    const share = rows === 0 ? null : late / rows;
    numbers[`late.${name}`] = late;
    numbers[`lateShare.${name}`] = share;
    if (share === null || !(share <= maxLateShare)) faults.push(tooLate({ name, late, rows, share, maxLateShare }));
  }
  if (faults.length > 0) return { status: 'block', numbers, threshold, message: faults.join('; ') };
  const told = [
    ...(declared.length > 0
      ? [`${whole(declared.length)} features say when they became known, and did before their impressions`]
      : []),
    ...(joined.length > 0 ? [`${whole(joined.length)} are joined with the newest value known before`] : []),
    'what says no time is taken as it was logged when served',
  ];
  return { status: 'pass', numbers, threshold, message: told.join('; ') };
}

function tooLate(input: {
  name: string;
  late: number;
  rows: number;
  share: number | null;
  maxLateShare: number;
}): string {
  const { name, late, rows, share, maxLateShare } = input;
  if (share === null) return `there are no fresh rows to see in whether "${name}" was known in time`;
  return (
    `"${name}" became known only after the impression in ${whole(late)} of ${whole(rows)} fresh rows: ${ratio(share)} of them, ` +
    `at most ${ratio(maxLateShare)} expected. Take the value as it was before the impression, or drop it`
  );
}

function joinOf(feature: Feature): { knownAt?: string | undefined } | null {
  return feature.kind === 'numeric' ? (feature.joined ?? null) : null;
}
