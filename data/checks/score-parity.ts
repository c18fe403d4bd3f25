import { z } from 'zod';
import type { Feature } from '../../config/schema.ts';
import { sqlName, type Duck } from '../duckdb.ts';
import { freshRows, type CheckContext, type Finding, type Rescore } from './check.ts';
import { ratio, whole } from './wording.ts';

/** Version 0 keeps the input's order: its scores are a ladder of positions, not a model's. */
const SCORED = 'version > 0 AND score IS NOT NULL';

const int = z.number().int();

/**
 * The scores that were logged when serving are those that the same version gives the logged features again: what is
 * trained on is what the model was fed. Looks at a sample of each version's rows, by a hash of their ids.
 */
export async function checkScoreParity({ config, manifest, db, rescore }: CheckContext): Promise<Finding> {
  const { maxDifference, maxShare, sampleRows } = config.checks.scoreParity;
  const threshold = { maxDifference, maxShare, sampleRows };
  const notApplicable = (message: string): Finding => ({ status: 'notApplicable', numbers: {}, threshold, message });
  if (freshRows(manifest) === 0) return notApplicable('there are no fresh rows, so no logged scores');
  const versions = await db.rows(
    `SELECT version, count(*) AS rows FROM fresh WHERE ${SCORED} GROUP BY version ORDER BY version`,
    z.object({ version: int, rows: int }),
  );
  if (versions.length === 0) {
    return notApplicable('no fresh row carries the score of a model: there is nothing to score again');
  }
  if (rescore === null) return notApplicable('there is nothing to score the logged features again with');
  const features = config.features.filter((feature) => feature.kind !== 'numeric' || feature.joined === undefined);
  const results: VersionParity[] = [];
  for (const { version, rows } of versions) {
    const input = { version, features, sampleRows, maxDifference, rescore };
    results.push({ version, rows, ...(await compareVersion(db, input)) });
  }
  return judge({ results, maxShare, maxDifference, threshold });
}

interface VersionParity {
  version: number;
  /** Of this version in the fresh rows. */
  rows: number;
  /** Scored again; none when `impossible`, the reason, is given. */
  compared: number;
  different: number;
  largest: number;
  impossible: string | null;
}

async function compareVersion(
  db: Duck,
  input: {
    version: number;
    features: readonly Feature[];
    sampleRows: number;
    maxDifference: number;
    rescore: Rescore;
  },
): Promise<Omit<VersionParity, 'version' | 'rows'>> {
  const { version, features, sampleRows, maxDifference, rescore } = input;
  if (features.length === 0) return notCompared('every feature is joined after the fact: none was logged');
  const sample = (columns: string): string =>
    `SELECT ${columns} FROM fresh WHERE ${SCORED} AND version = ${String(version)} ORDER BY hash(impression_id), impression_id LIMIT ${String(sampleRows)}`;
  const rescored = await rescore({ version, sql: sample(features.map(({ name }) => sqlName(name)).join(', ')) });
  if ('impossible' in rescored) return notCompared(rescored.impossible);
  const logged = await db.rows(sample('score'), z.object({ score: z.number() }));
  if (logged.length !== rescored.length) {
    throw new Error(
      `version ${String(version)} answered ${whole(rescored.length)} scores for ${whole(logged.length)} rows`,
    );
  }
  const differences = logged.map(({ score }, row) => Math.abs(score - (rescored[row] ?? Number.NaN)));
  return {
    compared: differences.length,
    // NaN is a difference too.
    different: differences.filter((difference) => !(difference <= maxDifference)).length,
    largest: differences.reduce((most, next) => (Number.isNaN(most) || next <= most ? most : next), 0),
    impossible: null,
  };
}

const notCompared = (impossible: string): Omit<VersionParity, 'version' | 'rows'> => ({
  compared: 0,
  different: 0,
  largest: 0,
  impossible,
});

function judge(input: {
  results: readonly VersionParity[];
  maxShare: number;
  maxDifference: number;
  threshold: Finding['threshold'];
}): Finding {
  const { results, maxShare, maxDifference, threshold } = input;
  const sum = (of: (result: VersionParity) => number): number => results.reduce((total, next) => total + of(next), 0);
  const unknown = results.filter(({ impossible }) => impossible !== null);
  const wrong = results.filter(({ different, compared }) => different > maxShare * compared);
  const numbers: Finding['numbers'] = {
    versions: results.length,
    compared: sum(({ compared }) => compared),
    different: sum(({ different }) => different),
    notRescored: unknown.reduce((total, { rows }) => total + rows, 0),
  };
  for (const { version, compared, different, largest } of results) {
    if (compared === 0) continue;
    numbers[`largest.${String(version)}`] = Number.isNaN(largest) ? null : largest;
    numbers[`differentShare.${String(version)}`] = different / compared;
  }
  const gaps = unknown.map(
    ({ version, rows, impossible }) =>
      `${whole(rows)} rows of version ${String(version)} could not be scored again (${impossible ?? ''})`,
  );
  const limit = `a difference above ${String(maxDifference)} expected in at most ${ratio(maxShare)} of the rows`;
  if (wrong.length > 0) {
    const told = wrong.map(
      ({ version, different, compared, largest }) =>
        `${whole(different)} of ${whole(compared)} logged scores of version ${String(version)} differ from what its logged features give again, ${Number.isNaN(largest) ? 'some of which are no number' : `by up to ${ratio(largest)}`}`,
    );
    const message = `${[...told, ...gaps].join('; ')}; ${limit}: what was logged is not what the model was fed, or another model answered. Look at the gateway's featurizer and at which file it serves`;
    return { status: 'block', numbers, threshold, message };
  }
  const compared = sum((result) => result.compared);
  const agreed = `${whole(compared)} logged scores of ${whole(results.length - unknown.length)} versions agree with what the logged features give again; ${limit}`;
  if (unknown.length === 0) return { status: 'pass', numbers, threshold, message: agreed };
  const message = [...(compared > 0 ? [agreed] : []), ...gaps].join('; ');
  return { status: 'warn', numbers, threshold, message };
}
