import type { CheckContext, Finding } from './check.ts';
import { ratio, whole } from './wording.ts';

/** The source's rows can be read: torn lines, rows without an id, user, item or time are few. */
export function checkMalformed({ config, manifest }: CheckContext): Finding {
  const { maxShare } = config.checks.malformed;
  const { read, malformed } = manifest.counts;
  const share = read === 0 ? 0 : malformed / read;
  const faulty = !(share <= maxShare);
  return {
    status: faulty ? 'block' : 'pass',
    numbers: { read, malformed, share },
    threshold: { maxShare },
    message:
      `${whole(malformed)} of ${whole(read)} rows of ${manifest.source.location} can not be read: ${ratio(share)} of them, at most ${ratio(maxShare)} expected` +
      (faulty
        ? '; they are torn, or lack an id, a user, an item or a time. Look at some of them, and at what writes them'
        : ''),
  };
}
