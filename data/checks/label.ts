import { freshRows, type CheckContext, type Finding } from './check.ts';
import { ratio, whole } from './wording.ts';

/** The label is neither absent nor constant: outside these bounds the feedback was not joined, or joined wrongly. */
export function checkLabel({ config, manifest }: CheckContext): Finding {
  const { minPositiveRate, maxPositiveRate } = config.checks.label;
  const threshold = { minPositiveRate, maxPositiveRate };
  const rows = freshRows(manifest);
  const { positives } = manifest.counts;
  const { orphans } = manifest.feedback;
  if (rows === 0) {
    return {
      status: 'block',
      numbers: { rows, positives, orphans },
      threshold,
      message: 'there are no fresh rows to take labels from',
    };
  }
  const rate = positives / rows;
  const plausible = rate >= minPositiveRate && rate <= maxPositiveRate;
  return {
    status: plausible ? 'pass' : 'block',
    numbers: { rows, positives, rate, orphans },
    threshold,
    message:
      `${whole(positives)} of ${whole(rows)} fresh rows are positive: ${ratio(rate)} of them, from ${ratio(minPositiveRate)} to ${ratio(maxPositiveRate)} expected` +
      (plausible
        ? ''
        : `; ${whole(orphans)} feedback records have no impression: check that feedback carries the impression ids of rank answers`),
  };
}
