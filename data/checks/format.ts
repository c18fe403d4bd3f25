import { freshRows, type CheckContext, type Finding } from './check.ts';
import { upstreamReferences } from './feature-comparison.ts';
import { ratio, whole } from './wording.ts';

/**
 * Values can be read as their feature's kind: `12.5` and not `12,5` or `n/a`. A source may always have had a few that can
 * not, so a rise blocks; what can not be read counts as missing.
 */
export function checkFormat(context: CheckContext): Finding {
  const { maxShare, maxIncrease } = context.config.checks.format;
  const threshold = { maxShare, maxIncrease };
  const { manifest } = context;
  const rows = freshRows(manifest);
  if (rows === 0)
    return { status: 'block', numbers: { rows }, threshold, message: 'there are no fresh rows to look at' };
  const [compared] = upstreamReferences(context);
  const earlier = compared?.reference.manifest;
  const rowsBefore = earlier === undefined ? 0 : freshRows(earlier);
  const found = manifest.features.map(({ name, invalid }) => {
    const invalidBefore = earlier?.features.find((feature) => feature.name === name)?.invalid;
    const before = invalidBefore === undefined || rowsBefore === 0 ? null : invalidBefore / rowsBefore;
    const share = invalid / rows;
    const faulty = !(share <= maxShare && share - (before ?? 0) <= maxIncrease);
    return { name, invalid, share, before, faulty };
  });
  const unreadable = found.filter(({ invalid }) => invalid > 0).toSorted((a, b) => b.share - a.share);
  const numbers: Finding['numbers'] = { rows, features: found.length };
  for (const { name, share, before } of unreadable) {
    numbers[`invalid.${name}`] = share;
    numbers[`invalidBefore.${name}`] = before;
  }
  if (unreadable.length === 0) {
    return {
      status: 'pass',
      numbers,
      threshold,
      message: `every value of ${whole(rows)} rows can be read as its feature's kind`,
    };
  }
  const faulty = unreadable.filter((feature) => feature.faulty);
  const usual = unreadable.every(({ before }) => before !== null && before > 0);
  const told = (faulty.length > 0 ? faulty : unreadable)
    .slice(0, 5)
    .map(
      ({ name, invalid, share, before }) =>
        `${whole(invalid)} values of "${name}" are no number of its kind: ${ratio(share)} of the rows` +
        (before === null ? '' : `, ${ratio(before)} in ${compared?.name ?? 'the reference'}`),
    );
  return {
    status: faulty.length > 0 ? 'block' : usual ? 'pass' : 'warn',
    numbers,
    threshold,
    message:
      `${told.join('; ')}; at most ${ratio(maxShare)}, and ${ratio(maxIncrease)} more than before, expected` +
      (faulty.length > 0 ? ': the format or the column changed upstream, look at some of its raw values' : ''),
  };
}
