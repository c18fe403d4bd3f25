import type { CheckCode } from '../../../config/schema.ts';
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
const asText =
  (column: string, value: string, rows: Rows = fresh) =>
  (window: FaultWindow) => [
    `ALTER TABLE faulty ALTER ${column} TYPE VARCHAR`,
    `UPDATE faulty SET ${column} = ${value} WHERE ${rows(window)}`,
  ];
const faults = (
  kind: string,
  expect: Fault['expect'],
  ...list: [name: string, strong: boolean, change: (window: FaultWindow) => string[]][]
): Fault[] => list.map(([name, strong, change]) => ({ kind, name, strong, expect, change }));

const IDS: CheckCode[] = ['categories', 'cardinality', 'source.schema', 'values', 'drift.features'];

/** What upstream systems changed. */
export const upstreamFaults: Fault[] = [
  ...faults(
    'column missing',
    ['source', 'source.schema', 'missing', 'schema'],
    ['duration_ms dropped', true, () => ['ALTER TABLE faulty DROP duration_ms']],
    ['author_id dropped', true, () => ['ALTER TABLE faulty DROP author_id']],
    ['a column that nothing reads dropped', false, () => ['ALTER TABLE faulty DROP is_hate']],
  ),
  ...faults(
    'column renamed',
    ['source', 'source.schema', 'missing', 'schema'],
    ['tab to surface', true, () => ['ALTER TABLE faulty RENAME tab TO surface']],
    ['is_click to clicked', true, () => ['ALTER TABLE faulty RENAME is_click TO clicked']],
  ),
  ...faults(
    'column new',
    ['source.schema'],
    ['one that nothing reads', false, () => ['ALTER TABLE faulty ADD COLUMN experiment VARCHAR']],
  ),
  ...faults(
    'column retyped',
    ['source.schema', 'format', 'schema', 'categories', 'values'],
    ['duration_ms as text with a unit', true, asText('duration_ms', `duration_ms || ' ms'`)],
    ['tab as text with a prefix', true, asText('tab', `'tab_' || tab`)],
    ['author_id as a decimal in text', true, asText('author_id', `author_id || '.0'`)],
  ),
  ...faults(
    'out of range',
    ['values'],
    ['5 % of durations negative', true, set('duration_ms', '-duration_ms - 1', share(0.05))],
    ['2 % of durations over a day', true, set('duration_ms', '90000000', share(0.02))],
    ['0.05 % of durations negative', false, set('duration_ms', '-1', share(0.0005))],
  ),
  ...faults(
    'unknown enumeration value',
    ['values'],
    ['10 % of surfaces are 99', true, set('tab', '99', share(0.1))],
    ['2 % of surfaces are 42', true, set('tab', '42', share(0.02))],
    ['0.05 % of surfaces are 42', false, set('tab', '42', share(0.0005))],
  ),
  ...faults(
    'unit',
    ['unit'],
    ['duration in seconds', true, set('duration_ms', 'duration_ms // 1000')],
    ['duration in microseconds', true, set('duration_ms', 'duration_ms * 1000')],
    ['duration in seconds in 30 % of the rows', true, set('duration_ms', 'duration_ms // 1000', share(0.3))],
    ['age in hours', true, set('freshness_days', 'freshness_days * 24')],
    ['duration in units of 0.7 ms', false, set('duration_ms', 'CAST(duration_ms / 0.7 AS BIGINT)')],
  ),
  ...faults(
    'unit',
    ['source', 'freshness', 'volume', 'volume.hourly', 'volume.arrival', 'volume.min-rows', 'clock'],
    ['times in seconds', true, set('time_ms', 'time_ms // 1000')],
    ['times in seconds in half of the rows', true, set('time_ms', 'time_ms // 1000', share(0.5))],
    ['times in microseconds', true, set('time_ms', 'time_ms * 1000')],
  ),
  ...faults(
    'format',
    ['format', 'source.schema', 'missing'],
    [
      'decimal comma',
      true,
      asText('duration_ms', `replace(CAST(CAST(duration_ms AS BIGINT) / 1000.0 AS VARCHAR), '.', ',')`),
    ],
    ['n/a in 20 % of the rows', true, asText('freshness_days', `'n/a'`, share(0.2))],
    ['thousands separator', true, asText('duration_ms', `format('{:,}', CAST(duration_ms AS BIGINT))`)],
    ['n/a in 0.5 % of the rows, of a column that is text', false, asText('freshness_days', `'n/a'`, share(0.005))],
  ),
  ...faults(
    'encoding',
    IDS,
    ['user_active_degree in upper case', true, set('user_active_degree', 'upper(user_active_degree)')],
    ['upload_type in upper case', true, set('upload_type', 'upper(upload_type)')],
    ['tags with a blank', true, set('tag', `' ' || tag`)],
    ['tags in quotes', true, set('tag', `'"' || tag || '"'`)],
    [
      'author ids hashed',
      true,
      set('author_id', 'CAST(md5_number_lower(CAST(author_id AS VARCHAR)) % 1000000007 AS BIGINT)'),
    ],
    ['30 % of tags in quotes', true, set('tag', `'"' || tag || '"'`, share(0.3))],
    ['2 % of tags in quotes', false, set('tag', `'"' || tag || '"'`, share(0.02))],
  ),
  ...faults(
    'constant column',
    ['constant'],
    ['duration_ms', true, set('duration_ms', '60000')],
    ['tab', true, set('tab', '1')],
    ['user_active_degree', true, set('user_active_degree', `'UNKNOWN'`)],
    ['freshness_days', true, set('freshness_days', '17')],
    ['duration_ms in 60 % of the rows', true, set('duration_ms', '60000', share(0.6))],
    ['duration_ms in 10 % of the rows', false, set('duration_ms', '60000', share(0.1))],
  ),
  ...faults(
    'missing values',
    ['missing'],
    ...(['duration_ms', 'author_id', 'user_active_degree'] as const).flatMap((column) =>
      [0.3, 0.6, 1].map((of): [string, boolean, (window: FaultWindow) => string[]] => [
        `${column} empty in ${String(of * 100)} % of the rows`,
        true,
        set(column, 'NULL', share(of)),
      ]),
    ),
    ['duration_ms 0 in 30 % of the rows', true, set('duration_ms', '0', share(0.3))],
    ['tag empty in 2 % of the rows', false, set('tag', 'NULL', share(0.02))],
  ),
  ...faults(
    'outliers',
    ['outliers', 'values', 'unit'],
    ['2 % of ages a million days', true, set('freshness_days', '1000000', share(0.02))],
    ['5 % of ages ten times', true, set('freshness_days', 'freshness_days * 10', share(0.05))],
    ['3 % of durations a thousand times', true, set('duration_ms', 'duration_ms * 1000', share(0.03))],
    ['0.05 % of ages a million days', false, set('freshness_days', '1000000', share(0.0005))],
  ),
  ...faults(
    'cardinality explosion',
    ['cardinality', 'categories'],
    ['tag with a session', true, set('tag', `tag || '-' || impression_id`)],
    ['upload_type with a session', true, set('upload_type', `upload_type || '-' || user_id`)],
    [
      'author ids unique for each row',
      true,
      set('author_id', 'author_id * 1000000 + CAST(substr(impression_id, 2) AS BIGINT)'),
    ],
    [
      'half of the authors unique for each row',
      true,
      set('author_id', 'author_id * 1000000 + CAST(substr(impression_id, 2) AS BIGINT)', share(0.5)),
    ],
    ['5 % of tags with a session', false, set('tag', `tag || '-' || impression_id`, share(0.05))],
  ),
  ...faults(
    'new categories',
    ['categories', 'values'],
    ['30 % of tags in a new taxonomy', true, set('tag', `'t' || tag`, share(0.3))],
    ['half of the upload types new', true, set('upload_type', `'Studio'`, share(0.5))],
    ['4 % of upload types new', false, set('upload_type', `'Studio'`, share(0.04))],
  ),
];
