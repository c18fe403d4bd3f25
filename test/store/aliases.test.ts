import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { listAliases, removeAlias, resolveVersion, setAlias } from '../../store/aliases.ts';
import { transaction } from '../../store/database.ts';
import { listDecisions, recordDecision } from '../../store/decisions.ts';
import { listPins, pinVersion, unpinVersion } from '../../store/pins.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { LINE, lineWithCandidate, lineWithStable } from './stage.ts';

const signed = { line: LINE, who: 'ann', why: 'the autumn test' };
let test: TestDatabase;

/** What a test changes is seen by no other. */
function ownDatabases(): void {
  beforeEach(async () => {
    test = await createTestDatabase();
  });
  afterEach(() => test.drop());
}

/** For tests that change nothing: a stable version 1, version 2 as a canary, and an alias. */
function oneDatabase(): void {
  beforeAll(async () => {
    test = await createTestDatabase();
    await lineWithCandidate(test.db, { cycleId: 'c' });
    await setAlias(test.db, { ...signed, alias: 'baseline', version: 0 });
  });
  afterAll(() => test.drop());
}

describe('an alias', () => {
  ownDatabases();

  it('stays where it is put, moves when it is moved, and is on record each time', async () => {
    const { db } = test;
    await lineWithCandidate(db, { cycleId: 'c' });
    expect(await setAlias(db, { ...signed, alias: 'baseline', version: 1 })).toMatchObject({
      previous: null,
      alias: { alias: 'baseline', version: 1, who: 'ann', why: 'the autumn test' },
    });
    expect(await setAlias(db, { ...signed, alias: 'baseline', version: 2, who: 'bob' })).toMatchObject({ previous: 1 });
    const again = await setAlias(db, { ...signed, alias: 'baseline', version: 2 });
    expect(again).toMatchObject({ previous: 2, alias: { who: 'bob' } });
    await setAlias(db, { ...signed, alias: 'a-1', version: 0 });
    expect((await listAliases(db, { line: LINE })).map(({ alias, version }) => [alias, version])).toEqual([
      ['a-1', 0],
      ['baseline', 2],
    ]);
    expect(await listAliases(db, { line: LINE, version: 1 })).toEqual([]);
    expect(await removeAlias(db, { ...signed, alias: 'baseline' })).toMatchObject({ version: 2 });
    await expect(removeAlias(db, { ...signed, alias: 'baseline' })).rejects.toThrow(
      'line "news-feed" has no alias "baseline": its aliases are a-1 (version 0)',
    );
    const decisions = await listDecisions(db, { line: LINE });
    expect(decisions.map(({ kind, version, who, details }) => [kind, version, who, details])).toEqual([
      ['aliasSet', 1, 'ann', { alias: 'baseline', previous: null }],
      ['aliasSet', 2, 'bob', { alias: 'baseline', previous: 1 }],
      ['aliasSet', 0, 'ann', { alias: 'a-1', previous: null }],
      ['aliasRemoved', 2, 'ann', { alias: 'baseline' }],
    ]);
  });

  it('needs a line and a version that there are', async () => {
    await lineWithStable(test.db);
    await expect(setAlias(test.db, { ...signed, alias: 'x', version: 9 })).rejects.toThrow('has no version 9');
    await expect(setAlias(test.db, { ...signed, line: 'y', alias: 'x', version: 1 })).rejects.toThrow(
      'no model line "y"',
    );
  });

  it('set by many at once is on one version, and each of them is on record', async () => {
    const { db } = test;
    await lineWithCandidate(db, { cycleId: 'c' });
    await Promise.all([0, 1, 2, 0, 1, 2].map((version) => setAlias(db, { ...signed, alias: 'x', version })));
    const decisions = await listDecisions(db, { line: LINE });
    const [alias] = await listAliases(db, { line: LINE });
    expect(alias?.version).toBe(decisions.at(-1)?.version);
    // Each found the version that the one before it left.
    expect(decisions.map(({ details }) => details['previous'])).toEqual([
      null,
      ...decisions.slice(0, -1).map(({ version }) => version),
    ]);
  });
});

describe('an alias', () => {
  oneDatabase();

  it.each([
    ['stable', /the route says which version it is/],
    ['latest', /it is the newest version/],
    ['v12', /reads like the number of a version/],
    ['12', /expected a small letter/],
    ['Base', /expected a small letter/],
    [`a${'b'.repeat(63)}`, /expected a small letter, then up to 62/],
  ])('can not be called %s', async (alias, message) => {
    await expect(setAlias(test.db, { ...signed, alias, version: 1 })).rejects.toThrow(message);
    await expect(
      test.db.query(`insert into aliases (line, alias, version, who, why) values ($1, $2, 1, 'w', 'w')`, [LINE, alias]),
    ).rejects.toThrow(/aliases_alias_check/);
  });
});

describe('a version is named', () => {
  oneDatabase();

  it.each([
    ['1', 1],
    ['v1', 1],
    ['stable', 1],
    ['canary', 2],
    ['latest', 2],
    ['baseline', 0],
  ])('%s', async (version, expected) => {
    expect(await resolveVersion(test.db, { line: LINE, version })).toBe(expected);
  });

  it.each([
    ['7', 'line "news-feed" has no version 7'],
    ['shadow', 'line "news-feed" has no shadow now; "freshet status news-feed" shows'],
    ['Stable', 'expected a number, an alias, stable, canary, shadow or latest; its aliases are baseline (version 0)'],
    ['-1', 'has no version "-1"'],
  ])('or not: %s', async (version, message) => {
    await expect(resolveVersion(test.db, { line: LINE, version })).rejects.toThrow(message);
  });
});

describe('a pin', () => {
  ownDatabases();

  it('is made once, ends, and is on record', async () => {
    const { db } = test;
    await lineWithCandidate(db, { cycleId: 'c' });
    expect(await pinVersion(db, { ...signed, version: 1 })).toMatchObject({ new: true, removed: [] });
    expect(await pinVersion(db, { ...signed, version: 1, who: 'bob' })).toMatchObject({
      new: false,
      pin: { who: 'ann' },
    });
    await pinVersion(db, { ...signed, version: 2 });
    expect((await listPins(db, { line: LINE })).map(({ version }) => version)).toEqual([1, 2]);
    expect(await unpinVersion(db, { ...signed, version: 1 })).toMatchObject({ version: 1, who: 'ann' });
    await expect(unpinVersion(db, { ...signed, version: 1 })).rejects.toThrow(
      'version 1 of line "news-feed" is not pinned: pinned are 2',
    );
    await expect(pinVersion(db, { ...signed, version: 9 })).rejects.toThrow('has no version 9');
    const decisions = await listDecisions(db, { line: LINE });
    expect(decisions.map(({ kind, version }) => [kind, version])).toEqual([
      ['pinned', 1],
      ['pinned', 2],
      ['unpinned', 1],
    ]);
  });

  it('says what retention removed before it', async () => {
    const { db } = test;
    await lineWithStable(db);
    await db.query(
      `insert into removed_artifacts (sha256, line, what, bytes, why) values ($1, $2, 'model of version 1', 1, 'old')`,
      ['a'.repeat(64), LINE],
    );
    expect((await pinVersion(db, { ...signed, version: 1 })).removed).toMatchObject([{ what: 'model of version 1' }]);
  });
});

describe('a decision', () => {
  ownDatabases();

  const decision = { ...signed, version: 1, kind: 'approved' as const };

  it('is written once a key, with what was shown, and never changes', async () => {
    const { db } = test;
    await lineWithStable(db);
    const keyed = { ...decision, cycleId: 'cold', details: { gate: 'inconclusive' }, effectKey: 'cold/approval' };
    const [one, two] = await Promise.all([recordDecision(db, keyed), recordDecision(db, keyed)]);
    expect(one).toEqual(two);
    expect(await listDecisions(db, { line: LINE, version: 1 })).toEqual([one]);
    expect(one).toMatchObject({ kind: 'approved', cycleId: 'cold', details: { gate: 'inconclusive' }, who: 'ann' });
    await recordDecision(db, decision);
    expect(await listDecisions(db, { line: LINE })).toHaveLength(2);
    for (const statement of [`update decisions set why = 'x'`, 'delete from decisions', 'truncate decisions'])
      await expect(db.query(statement)).rejects.toThrow('rows of decisions are kept for ever');
  });

  it('is written with the transaction it is part of, or not at all', async () => {
    const { db } = test;
    await lineWithStable(db);
    const failing = transaction(db, async (tx) => {
      await recordDecision(tx, decision);
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect(await listDecisions(db, { line: LINE })).toEqual([]);
  });

  it('has somebody who took it and a reason', async () => {
    await lineWithStable(test.db);
    await expect(recordDecision(test.db, { ...decision, who: ' ' })).rejects.toThrow('needs its who: it is empty');
    await expect(recordDecision(test.db, { ...decision, why: '' })).rejects.toThrow('needs its why');
    await expect(recordDecision(test.db, { ...decision, version: 5 })).rejects.toThrow('has no version 5');
  });
});
