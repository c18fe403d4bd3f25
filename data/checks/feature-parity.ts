import { freshRows, type CheckContext, type Finding } from './check.ts';
import { ratio } from './wording.ts';

/**
 * What a model learns from is there when it serves: a feature joined after the fact must not be present in training and
 * missing in what was served. Logged features agree by construction.
 */
export function checkFeatureParity({ config, manifest }: CheckContext): Finding {
  const { maxMissingGap } = config.checks.featureParity;
  const threshold = { maxMissingGap };
  const joined = manifest.features.filter((feature) => feature.joined);
  if (joined.length === 0) {
    return { status: 'pass', numbers: {}, threshold, message: 'every feature trains as it was logged when served' };
  }
  if (freshRows(manifest) === 0) {
    return {
      status: 'block',
      numbers: {},
      threshold,
      message: 'there are no fresh rows to compare joined features in',
    };
  }
  const gaps = joined.map((feature) => {
    const trained = feature.missingTrained ?? Number.NaN;
    const served = feature.missingServed ?? Number.NaN;
    return { name: feature.name, trained, served, gap: served - trained };
  });
  const skewed = gaps.filter(({ gap }) => !(gap <= maxMissingGap));
  const numbers = Object.fromEntries(gaps.map(({ name, gap }) => [`missingGap.${name}`, gap]));
  const told = (skewed.length > 0 ? skewed : gaps).map(
    ({ name, trained, served }) =>
      `"${name}" is missing in ${ratio(served)} of what was served and ${ratio(trained)} of what trains`,
  );
  return {
    status: skewed.length > 0 ? 'block' : 'pass',
    numbers,
    threshold,
    message:
      `${told.join('; ')}; a gap of at most ${ratio(maxMissingGap)} expected` +
      (skewed.length > 0
        ? ': the model would learn from a value it will not have. Send it with rank requests first, or drop it'
        : ''),
  };
}
