import type { Finding, CheckContext } from './check.ts';
import { moment, whole } from './wording.ts';

/** There is enough to train on, before replay is added, and something to test on. */
export function checkMinRows({ config, manifest }: CheckContext): Finding {
  const { train, holdout, immature, notArrived, read } = manifest.counts;
  const { minRows } = config.snapshot;
  const enough = train >= minRows && holdout > 0;
  const found = `${whole(train)} fresh rows to train on and ${whole(holdout)} to test on`;
  const window = `${moment(manifest.windowStartMs)} to ${moment(manifest.cutoffMs)}`;
  return {
    status: enough ? 'pass' : 'block',
    numbers: { train, holdout, immature, notArrived, read },
    threshold: { minRows },
    message: enough
      ? `${found}, at least ${whole(minRows)} expected`
      : `${found} from ${window}, at least ${whole(minRows)} and 1 expected; ${whole(immature)} more are too young for a label and wait ` +
        `for the next cycle (${whole(read)} rows were read): check that impressions of this line are being logged`,
  };
}
