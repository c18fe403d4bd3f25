import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LineConfigInput } from '../../../config/schema.ts';
import type { Finding } from '../../../data/checks/check.ts';
import { checkFormat } from '../../../data/checks/format.ts';
import { checkSourceSchema } from '../../../data/checks/source-schema.ts';
import { checkValues } from '../../../data/checks/values.ts';
import type { Duck } from '../../../data/duckdb.ts';
import { loadFeatureHash } from '../../../features/feature-id.ts';
import { contextOf, lineOf, manifestOf, NO_REFERENCES, openRig, referenceOf, relationOf } from './comparison-rig.ts';

describe('values', () => {
  let db: Duck;
  let ids: Record<string, string>;
  beforeAll(async () => {
    db = await openRig();
    const hash = await loadFeatureHash();
    ids = Object.fromEntries(['phone', 'tablet', 'Phone', '1'].map((value) => [value, String(hash(value))]));
  });
  afterAll(() => {
    db.close();
  });

  const device = { kind: 'categorical' as const, name: 'device' };
  const price = { kind: 'numeric' as const, name: 'price' };
  const find = async (features: LineConfigInput['features'], sql: (id: typeof ids) => string): Promise<Finding> => {
    const config = lineOf(features);
    const values = Object.fromEntries(features.map(({ name }) => [name, sql(ids)]));
    await db.run(`CREATE OR REPLACE VIEW fresh AS FROM ${relationOf(config, { values, rows: 2_000, from: 0 })}`);
    return checkValues(contextOf({ config, db, manifest: manifestOf(config) }));
  };

  type Case = {
    what: string;
    feature: LineConfigInput['features'][number];
    sql: (id: typeof ids) => string;
    status: Finding['status'];
    says: RegExp;
  };
  const cases: Case[] = [
    { what: 'nothing declared', feature: price, sql: () => 'i', status: 'pass', says: /no feature declares/ },
    {
      what: 'numbers at the ends of their range, as 32-bit numbers',
      feature: { ...price, expect: { min: 0.1, max: 0.3 } },
      sql: () => 'CASE WHEN i % 2 = 0 THEN 0.1 ELSE 0.3 END',
      status: 'pass',
      says: /the values of 1 features are what the config declares/,
    },
    {
      what: 'a number above its range in one row',
      feature: { ...price, expect: { max: 100 } },
      sql: () => 'CASE WHEN i = 7 THEN 250 ELSE 5 END',
      status: 'warn',
      says: /^1 values of "price" \(0\.0005 of them\) are above 100, as far as 250; at most 0\.001 of the rows/,
    },
    {
      what: 'numbers below their range',
      feature: { ...price, expect: { min: 0 } },
      sql: () => 'CASE WHEN i % 10 = 0 THEN -i - 1 ELSE 5 END',
      status: 'block',
      says: /^200 values of "price" \(0\.10 of them\) are below 0, as far as -1991/,
    },
    {
      what: 'an enumeration that holds',
      feature: { ...device, expect: { values: ['phone', 'tablet', 1] } },
      sql: (id) =>
        `CASE i % 4 WHEN 0 THEN ${id['phone'] ?? ''} WHEN 1 THEN ${id['tablet'] ?? ''} WHEN 2 THEN ${id['1'] ?? ''} END`,
      status: 'pass',
      says: /declares/,
    },
    {
      what: 'values that are written in another way',
      feature: { ...device, expect: { values: ['phone', 'tablet'] } },
      sql: (id) => `CASE WHEN i % 2 = 0 THEN ${id['phone'] ?? ''} ELSE ${id['Phone'] ?? ''} END`,
      status: 'block',
      says: /^1,000 values of "device" \(0\.50 of them, 1 different ones\) are none of the 2 declared/,
    },
    {
      what: 'more missing than declared',
      feature: { ...device, expect: { maxMissing: 0.2 } },
      sql: () => 'CASE WHEN i % 2 = 0 THEN 5 END',
      status: 'block',
      says: /"device" is missing in 0\.50 of the rows, at most 0\.20 declared/,
    },
    {
      what: 'as much missing as declared',
      feature: { ...price, expect: { maxMissing: 0.5 } },
      sql: () => 'CASE WHEN i % 2 = 0 THEN 5 END',
      status: 'pass',
      says: /declares/,
    },
  ];
  test.each(cases)('$what', async ({ feature, sql, status, says }) => {
    const finding = await find([feature], sql);
    expect(finding.message).toMatch(says);
    expect(finding.status).toBe(status);
  });

  test('without rows nothing is known', async () => {
    const config = lineOf([{ ...price, expect: { min: 0 } }]);
    expect(await checkValues(contextOf({ config, manifest: manifestOf(config, { rows: 0 }) }))).toMatchObject({
      status: 'block',
    });
  });
});

describe('format', () => {
  const config = lineOf([{ kind: 'numeric', name: 'price' }]);
  const find = (invalid: number, before: number | null): Finding => {
    const season = before === null ? null : referenceOf(null, manifestOf(config, { invalid: before }));
    const references = { ...NO_REFERENCES, season };
    return checkFormat(contextOf({ config, manifest: manifestOf(config, { invalid }), references }));
  };
  test.each([
    [0, 0, 'pass', /every value of 1,000 rows can be read/],
    [0, null, 'pass', /every value/],
    [
      3,
      0,
      'warn',
      /3 values of "price" are no number of its kind: 0\.0030? of the rows, 0.* in the same hours a day before/,
    ],
    [3, 2, 'pass', /3 values of "price"/],
    [15, 0, 'block', /15 values of "price" .*: the format or the column changed/],
    [1_000, null, 'block', /1,000 values of "price" are no number of its kind: 1\.00 of the rows;/],
    [400, 400, 'block', /at most 0\.05, and 0\.01 more than before/],
  ] as const)('%d unreadable values in 1,000, %s before: %s', (invalid, before, status, says) => {
    const finding = find(invalid, before);
    expect(finding.message).toMatch(says);
    expect(finding.status).toBe(status);
  });

  test('without rows nothing is known', () => {
    expect(checkFormat(contextOf({ config, manifest: manifestOf(config, { rows: 0 }) })).status).toBe('block');
  });
});

describe('source.schema', () => {
  const features: LineConfigInput['features'] = [
    { kind: 'categorical', name: 'topic', field: 'topic_id' },
    { kind: 'numeric', name: 'price', knownAt: 'priced_at' },
  ];
  const lake = lineOf(features, {
    source: {
      kind: 'lake',
      path: '/lake/*.parquet',
      columns: { user: 'uid', item: 'iid', time: 'ts', label: 'clicked' },
    },
  });
  const BEFORE = {
    uid: 'BIGINT',
    iid: 'BIGINT',
    ts: 'BIGINT',
    clicked: 'BOOLEAN',
    topic_id: 'INTEGER',
    price: 'INTEGER',
    priced_at: 'BIGINT',
    note: 'VARCHAR',
  };
  const changed = (changes: Record<string, string | null>): Record<string, string> =>
    Object.fromEntries(
      Object.entries<string | null>({ ...BEFORE, ...changes }).flatMap(([name, type]) =>
        type == null ? [] : [[name, type]],
      ),
    );
  const find = (now: Record<string, string>): Finding => {
    const references = { ...NO_REFERENCES, season: referenceOf(null, manifestOf(lake, { columns: BEFORE })) };
    return checkSourceSchema(contextOf({ config: lake, manifest: manifestOf(lake, { columns: now }), references }));
  };
  test.each([
    ['the same columns', {}, 'pass', /the source's 8 columns are those of the same hours a day before/],
    [
      'a column that a feature reads is gone',
      { topic_id: null },
      'block',
      /column "topic_id" is gone \(feature "topic" reads it\)/,
    ],
    [
      'a column of the mapping is gone',
      { clicked: null },
      'block',
      /"clicked" is gone \(source\.columns\.label reads it\)/,
    ],
    ['a column of knownAt is gone', { priced_at: null }, 'block', /knownAt of feature "price"/],
    [
      'a column that nothing reads is gone',
      { note: null },
      'warn',
      /column "note" is gone; nothing that the config reads has changed/,
    ],
    ['a new column', { extra: 'DOUBLE' }, 'warn', /column "extra" \(DOUBLE\) is new/],
    ['letters of another case', { topic_id: null, TOPIC_ID: 'INTEGER' }, 'pass', /those of/],
    ['a wider number', { topic_id: 'BIGINT', uid: 'HUGEINT' }, 'pass', /those of/],
    [
      'text for a number',
      { uid: 'VARCHAR' },
      'block',
      /column "uid" was BIGINT and is VARCHAR \(source\.columns\.user reads it\)/,
    ],
    ['text for a number that nothing reads', { note: 'BIGINT' }, 'warn', /"note" was VARCHAR and is BIGINT/],
    ['fractions in a numeric feature', { price: 'DOUBLE' }, 'warn', /"price" was INTEGER and is DOUBLE/],
    ['fractions in an id', { topic_id: 'DOUBLE' }, 'block', /"topic_id" was INTEGER and is DOUBLE/],
    ['a timestamp for a number', { ts: 'TIMESTAMP' }, 'block', /"ts" was BIGINT and is TIMESTAMP/],
  ] as const)('%s', (_what, changes, status, says) => {
    const finding = find(changed(changes));
    expect(finding.message).toMatch(says);
    expect(finding.status).toBe(status);
  });

  test('compares with the newest reference, whichever it is', () => {
    const old = referenceOf(null, manifestOf(lake, { columns: { uid: 'BIGINT' } }), 1);
    const newest = referenceOf(null, manifestOf(lake, { columns: BEFORE }), 2);
    const references = { ...NO_REFERENCES, season: old, training: newest };
    const manifest = manifestOf(lake, { columns: BEFORE });
    expect(checkSourceSchema(contextOf({ config: lake, manifest, references }))).toMatchObject({ status: 'pass' });
  });

  test('of the event log: fields of the records and the features that they carry', () => {
    const config = lineOf(features);
    const columns = { impressionId: 'VARCHAR', 'features.topic': 'VARCHAR', 'features.price': 'DOUBLE' };
    const before = manifestOf(config, { kind: 'eventLog', columns: { ...columns, 'features.old': 'DOUBLE' } });
    const find = (now: Record<string, string>): Finding =>
      checkSourceSchema(
        contextOf({
          config,
          manifest: manifestOf(config, { kind: 'eventLog', columns: now }),
          references: { ...NO_REFERENCES, recent: [referenceOf(null, before)] },
        }),
      );
    expect(find(columns).status).toBe('warn');
    expect(find(columns).message).toContain('"features.old" is gone;');
    const { 'features.price': _, ...without } = columns;
    expect(find(without).status).toBe('block');
    expect(find(without).message).toContain('(feature "price" reads it)');
  });

  test('of the event log: a feature that only the newest hour lacks does not stop rows that have it', () => {
    const config = lineOf(features);
    const columns = { impressionId: 'VARCHAR', 'features.topic': 'VARCHAR', 'features.price': 'DOUBLE' };
    const { 'features.price': _, ...without } = columns;
    const served = (names: Record<string, string>, missingServed: number): ReturnType<typeof manifestOf> => {
      const manifest = manifestOf(config, { kind: 'eventLog', columns: names });
      return { ...manifest, features: manifest.features.map((feature) => ({ ...feature, missingServed })) };
    };
    const find = (missingNow: number, missingBefore: number): Finding =>
      checkSourceSchema(
        contextOf({
          config,
          manifest: served(without, missingNow),
          references: { ...NO_REFERENCES, recent: [referenceOf(null, served(columns, missingBefore))] },
        }),
      );
    expect(find(0.98, 0.97).status).toBe('warn');
    expect(find(0.98, 0.97).message).toContain('"features.price" is gone');
    expect(find(1, 0.97).status).toBe('block');
    expect(find(1, 0.999).status).toBe('warn');
  });

  test('needs an earlier snapshot, of a source of the same kind', () => {
    const manifest = manifestOf(lake, { columns: BEFORE });
    expect(checkSourceSchema(contextOf({ config: lake, manifest })).status).toBe('notApplicable');
    const recent = [referenceOf(null, manifestOf(lake, { columns: BEFORE, kind: 'eventLog' }))];
    const finding = checkSourceSchema(contextOf({ config: lake, manifest, references: { ...NO_REFERENCES, recent } }));
    expect(finding.status).toBe('warn');
    expect(finding.message).toContain('of another kind (lake)');
  });
});
