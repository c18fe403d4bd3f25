import type { Rescore } from '../data/checks/check.ts';
import type { Duck } from '../data/duckdb.ts';
import { readFeatureRows } from '../data/feature-rows.ts';
import { openThreadedModel } from '../scoring/threaded-model.ts';
import { ArtifactError } from '../store/artifacts.ts';
import { listVersions } from '../store/versions.ts';
import type { DataDependencies } from './dependencies.ts';

/** Scoring 5,000 rows takes milliseconds; a minute means that the model hangs. */
const SCORE_WITHIN_MS = 60_000;

/** Scores rows of a snapshot again with versions of the line, each with the feature spec that it was registered with. */
export function rescoreWith(deps: DataDependencies, line: string): (db: Duck) => Rescore {
  return (db) =>
    async ({ version, sql }) => {
      const [record] = await listVersions(deps.db, line, { versions: [version] });
      if (record === undefined) return { impossible: `version ${String(version)} is none of this line` };
      if (record.modelSha256 === null) return { impossible: `version ${String(version)} has no model` };
      let path: string;
      try {
        path = await deps.artifacts.path(record.modelSha256);
      } catch (error) {
        if (error instanceof ArtifactError) return { impossible: error.message };
        throw error;
      }
      const columns = new Set((await db.describe(sql)).map(({ name }) => name));
      const absent = record.features.filter(({ name }) => !columns.has(name)).map(({ name }) => name);
      if (absent.length > 0) {
        return { impossible: `the snapshot has no column of its feature ${absent.join(', ')}` };
      }
      const rows = await readFeatureRows(db, sql, record.features);
      const title = `version ${String(version)} of "${line}"`;
      const model = await openThreadedModel({ title, path, features: record.features });
      try {
        return Float64Array.from((await model.score(rows, SCORE_WITHIN_MS)).scores);
      } finally {
        await model.close();
      }
    };
}
