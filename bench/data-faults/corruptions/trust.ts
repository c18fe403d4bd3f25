import { join } from 'node:path';
import { z } from 'zod';
import { openDuckDb, sqlText } from '../../../data/duckdb.ts';
import type { Fault, FaultWindow } from '../fault.ts';

type Rows = (window: FaultWindow) => string;
const fresh: Rows = (window) => window.fresh;
const share =
  (of: number, salt = 'some'): Rows =>
  (window) =>
    `${window.fresh} AND ${window.some(of, salt)}`;
const set =
  (column: string, value: string, rows: Rows = fresh) =>
  (window: FaultWindow) => [`UPDATE faulty SET ${column} = ${value} WHERE ${rows(window)}`];
/** Gives each fresh row the value of another. */
const shuffle = (column: string) => (window: FaultWindow) => [
  `CREATE OR REPLACE TEMP TABLE dealt AS
   SELECT given.impression_id, taken.${column} AS dealt
   FROM (SELECT impression_id, row_number() OVER (ORDER BY md5('a' || impression_id)) AS n FROM faulty WHERE ${window.fresh}) AS given
     JOIN (SELECT ${column}, row_number() OVER (ORDER BY md5('b' || impression_id)) AS n FROM faulty WHERE ${window.fresh}) AS taken USING (n)`,
  `UPDATE faulty SET ${column} = dealt FROM dealt WHERE faulty.impression_id = dealt.impression_id`,
];
const faults = (
  kind: string,
  expect: Fault['expect'],
  ...list: [name: string, strong: boolean, change: (window: FaultWindow) => string[]][]
): Fault[] => list.map(([name, strong, change]) => ({ kind, name, strong, expect, change }));

const LEAKED = ['play_time_ms', 'watch_ratio', 'long_view', 'long_watch', 'finish', 'is_positive', 'comment_stay_time'];
const BOTS: Fault['expect'] = ['constant', 'cardinality', 'outliers', 'drift.features', 'duplicates', 'feedback-loop'];

/** What tells the model another story than serving will. */
export const trustFaults: Fault[] = [
  ...faults(
    'shuffled feature',
    ['score-parity', 'drift.concept'],
    ['tab', true, shuffle('tab')],
    ['duration_ms', true, shuffle('duration_ms')],
    ['author_id', true, shuffle('author_id')],
  ),
  ...faults(
    'feature drift',
    ['drift.features', 'unit', 'outliers'],
    ['durations three times', true, set('duration_ms', 'duration_ms * 3')],
    ['durations 1.1 times', false, set('duration_ms', 'CAST(duration_ms * 1.1 AS BIGINT)')],
    ['age 3 days more', true, set('freshness_days', 'freshness_days + 3')],
    ['60 % of the rows from another surface', true, set('tab', '4', share(0.6))],
    ['half of the durations a minute more', true, set('duration_ms', 'duration_ms + 60000', share(0.5))],
    ['half of the users of another degree', true, set('user_active_degree', `'middle_active'`, share(0.5))],
    ['10 % of the rows from another surface', false, set('tab', '4', share(0.1))],
  ),
  ...faults(
    'label',
    ['label', 'drift.label', 'drift.concept'],
    ['flipped', true, set('is_click', '1 - is_click')],
    ['30 % flipped', true, set('is_click', '1 - is_click', share(0.3))],
    ['80 % of clicks dropped', true, set('is_click', '0', share(0.8))],
    ['40 % of clicks dropped', true, set('is_click', '0', share(0.4))],
    ['all 0', true, set('is_click', '0')],
    ['all 1', true, set('is_click', '1')],
    ['dealt at random', true, shuffle('is_click')],
    ['10 % of clicks dropped', false, set('is_click', '0', share(0.1))],
    ['clicks two hours late', true, set('known_at_ms', 'known_at_ms + 7200000')],
    ['clicks of the newest 3 h not there', true, set('is_click', 'NULL', ({ newest }) => newest(3))],
  ),
  ...faults(
    'label',
    ['label', 'source.schema', 'volume.min-rows', 'freshness', 'volume.hourly'],
    [
      'unreadable',
      true,
      (window) => [
        'ALTER TABLE faulty ALTER is_click TYPE VARCHAR',
        `UPDATE faulty SET is_click = 'yes' WHERE ${window.fresh}`,
      ],
    ],
  ),
  ...faults(
    'prediction drift',
    ['drift.predictions', 'score-parity'],
    ['scores constant', true, set('score', '0.5')],
    ['scores 0.2 higher', true, set('score', 'least(score + 0.2, 0.999)')],
    ['scores of other rows', true, shuffle('score')],
    ['scores squared', true, set('score', 'score * score')],
    ['scores 0.00005 higher', false, set('score', 'score + 0.00005')],
  ),
  ...LEAKED.map((name): Fault => ({
    ...{ kind: 'leaked column', name, strong: true, expect: ['leakage'], features: [{ kind: 'numeric', name }] },
  })),
  {
    ...{ kind: 'leaked column', name: 'is_like known after the impression', strong: true, expect: ['leakage.time'] },
    features: [{ kind: 'numeric', name: 'is_like', knownAt: 'known_at_ms' }],
  },
  overlap('a tenth of the holdout in train', 0.1, true),
  overlap('the holdout in train', 1, true),
  ...faults(
    'bots',
    BOTS,
    ['a user with 30 % of the rows', true, set('user_id', '999999999', share(0.3))],
    ['a user with 60 % of the rows', true, set('user_id', '999999999', share(0.6))],
    ['a video with 40 % of the rows', true, set('video_id', '3', share(0.4))],
    ['a user with 3 % of the rows', false, set('user_id', '999999999', share(0.03))],
  ),
  ...faults('feedback loop', ['feedback-loop'], ['no exploration any more', false, set('arm', `'stable'`)]),
];

/** Rows of the holdout that also train: a snapshot that was put together wrongly. */
function overlap(name: string, of: number, strong: boolean): Fault {
  return {
    ...{ kind: 'train and holdout overlap', name, strong, expect: ['leakage.overlap'] },
    tamper: async ({ manifest, files, folder }) => {
      const db = await openDuckDb();
      try {
        const list = (paths: readonly string[]): string => `read_parquet([${paths.map(sqlText).join(', ')}])`;
        const path = join(folder, `overlap-${String(of)}.parquet`);
        await db.run(`
          COPY (SELECT * FROM ${list(files.train)} UNION ALL
                SELECT * FROM ${list(files.holdout)} WHERE md5_number_lower(impression_id) % 1000 < ${String(of * 1000)}
                ORDER BY event_time_ms, impression_id)
          TO ${sqlText(path)} (FORMAT parquet)`);
        const { rows } = await db.row(`SELECT count(*) AS rows FROM ${list([path])}`, z.object({ rows: z.number() }));
        return {
          manifest: { ...manifest, counts: { ...manifest.counts, train: rows } },
          files: { ...files, train: [path] },
        };
      } finally {
        db.close();
      }
    },
  };
}
