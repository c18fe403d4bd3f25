import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { seededRandom } from '../../simulator/seeded-random.ts';
import { createTokens, impressionIdOf, type AnswerToken } from '../../serving/tokens.ts';
import { setEventClock } from '../../store/event-clock.ts';
import { nth } from './nth.ts';
import { KEY, LINE, World } from './world.ts';

const OTHER = { id: 'k2', secret: randomBytes(32) };
const HOUR_MS = 3_600_000;
const tokens = createTokens([KEY, OTHER]);

function tokenOf(change: Partial<AnswerToken> = {}): AnswerToken {
  const now = Date.now();
  const answered = { answeredAtMs: now, eventTimeMs: now, scores: [0.25, 0.125] };
  return { line: LINE, requestId: 'r', version: 7, arm: 'canary', epoch: 3, ...answered, ...change };
}

type Header = [keyId: string, line: string, requestId: string, ...numbers: number[]];

/** A genuine id with its header written anew and its signature kept. */
function rewritten(change: (header: Header) => void): string {
  const [text = '', scores, signature] = tokens.sign(tokenOf()).split('.');
  const header = JSON.parse(Buffer.from(text, 'base64url').toString()) as Header;
  change(header);
  return [Buffer.from(JSON.stringify(header)).toString('base64url'), scores, signature, '0'].join('.');
}

/** A genuine id with one of its parts (header, scores, signature, position) replaced. */
function withPart(place: number, change: (part: string) => string): string {
  const parts = [...tokens.sign(tokenOf()).split('.'), '0'];
  parts[place] = change(nth(parts, place));
  return parts.join('.');
}

const FORGED: [string, () => string, RegExp, string][] = [
  ['another line', () => rewritten((header) => (header[1] = 'other')), /signature/, 'signature'],
  ['another request', () => rewritten((header) => (header[2] = 'r2')), /signature/, 'signature'],
  ['another version', () => rewritten((header) => (header[3] = 8)), /signature/, 'signature'],
  ['another arm', () => rewritten((header) => (header[4] = 0)), /signature/, 'signature'],
  ['another epoch', () => rewritten((header) => (header[5] = 4)), /signature/, 'signature'],
  ['another health bucket', () => rewritten((header) => (header[6] = 1)), /signature/, 'signature'],
  ['a later time, so that it lives longer', () => rewritten((header) => (header[7] = 9e15)), /signature/, 'signature'],
  ['the id of another accepted key', () => rewritten((header) => (header[0] = OTHER.id)), /signature/, 'signature'],
  ['the id of no key', () => rewritten((header) => (header[0] = '__proto__')), /key that is not/, 'unknownKey'],
  ['better scores', () => withPart(1, () => Buffer.alloc(4, 0xff).toString('base64url')), /signature/, 'signature'],
  ['one more score', () => withPart(1, (part) => `${part}AAA`), /signature/, 'signature'],
  ['a signature cut short', () => withPart(2, (part) => part.slice(0, -1)), /signature/, 'signature'],
  ['no signature', () => withPart(2, () => ''), /signature/, 'signature'],
  ['a longer signature', () => withPart(2, (part) => `${part}A`), /signature/, 'signature'],
  [
    'the signature of another answer',
    () => withPart(2, () => nth(tokens.sign(tokenOf({ version: 9 })).split('.'), 2)),
    /signature/,
    'signature',
  ],
  ['a position beyond the slate', () => withPart(3, () => '2'), /none at position 2/, 'position'],
  ['a position spelled otherwise', () => withPart(3, () => '00'), /not an impression id/, 'malformed'],
  ['a negative position', () => withPart(3, () => '-1'), /not an impression id/, 'malformed'],
  ['a position in other digits', () => withPart(3, () => '٠'), /not an impression id/, 'malformed'],
  ['no position', () => tokens.sign(tokenOf()), /not an impression id/, 'malformed'],
  ['one part too many', () => `${tokens.sign(tokenOf())}.0.0`, /not an impression id/, 'malformed'],
];

describe('on a gateway', () => {
  let world: World;
  beforeEach(async () => {
    world = await World.create();
  });
  afterEach(async () => {
    await world.close();
  });

  test('what was changed is refused and counted by its reason, and nothing of it is logged', async () => {
    const gateway = await world.gateway({ keys: [KEY, OTHER] });
    const foreign = createTokens([{ id: KEY.id, secret: randomBytes(32) }]);
    const ids = [
      ...FORGED.map(([, make]) => make()),
      `${foreign.sign(tokenOf())}.0`,
      `${tokens.sign(tokenOf({ line: 'other' }))}.0`,
      `${tokens.sign(tokenOf({ eventTimeMs: Date.now() - 49 * HOUR_MS }))}.0`,
    ];
    const answer = await gateway.click(...ids, `${tokens.sign(tokenOf())}.0`);
    expect(answer).toMatchObject({ accepted: 1, duplicates: 0 });
    expect(answer.refused.map(({ reason }) => reason)).toEqual([
      ...FORGED.map(([, , reason]) => expect.stringMatching(reason) as string),
      expect.stringMatching(/signature/),
      expect.stringMatching(/line "other" is not served here/),
      expect.stringMatching(/^expired/),
    ]);

    const metrics = await gateway.text('/metrics');
    const codes = FORGED.map(([, , , code]) => code);
    const times = (code: string): number => codes.filter((other) => other === code).length;
    const expected = {
      ...{ signature: times('signature') + 1, unknownKey: times('unknownKey'), malformed: times('malformed') },
      ...{ position: times('position'), foreignLine: 1, expired: 1 },
    };
    for (const [reason, count] of Object.entries(expected))
      expect(metrics).toContain(`freshet_feedback_total{outcome="refused",reason="${reason}"} ${String(count)}\n`);
    await gateway.close();
    expect(await world.feedback()).toHaveLength(1);
    expect(Object.keys(await world.sums())).toEqual(['7 canary']);
  });

  test('replayed a thousand times, in any spelling, it counts once, also where it was not served', async () => {
    const one = await world.gateway();
    const two = await world.gateway({ processId: 'gateway-2' });
    const { items, token } = await one.rank('u1');
    const { impressionId } = nth(items, 0);
    const spelled = ['00', '000', '0000', '00000'].map((position) => `${token}.${position}`);
    expect(await two.click(...Array.from({ length: 996 }, () => impressionId), ...spelled)).toMatchObject({
      accepted: 1,
      duplicates: 995,
      refused: spelled.map(() => ({ reason: 'not an impression id of a rank answer' })),
    });
    expect(await two.click(...Array.from({ length: 1_000 }, () => impressionId))).toMatchObject({
      accepted: 0,
      duplicates: 1_000,
    });
    await Promise.all([one.close(), two.close()]);
    expect((await world.sums())['0 stable']).toMatchObject({ clicks: 1 });
    expect(await world.feedback()).toHaveLength(1);
  });

  test('a line whose time is driven expires its impressions by that time, not by the wall clock', async () => {
    await world.applyLine({ clock: 'replay' });
    const day = Date.UTC(2022, 3, 25, 10);
    await setEventClock(world.database.db, { line: LINE, eventMs: day + 49 * HOUR_MS, rate: 0 });
    const gateway = await world.gateway();
    const [old, young] = [day, day + 2 * HOUR_MS].map((eventTimeMs) => `${tokens.sign(tokenOf({ eventTimeMs }))}.0`);
    expect(await gateway.click(old ?? '', young ?? '')).toMatchObject({
      accepted: 1,
      refused: [{ reason: 'expired: the impression is 49.0 h old, feedback is taken for 48.0 h' }],
    });
  });

  test('garbage of any size is refused, and never an error of the gateway', async () => {
    const gateway = await world.gateway();
    const ids = garbage(1_000).filter((id) => id !== '' && id.length <= 8_192);
    for (let from = 0; from < ids.length; from += 400) {
      const events = ids.slice(from, from + 400).map((impressionId) => ({ impressionId, event: 'click' }));
      const { status, body } = await gateway.post<{ refused: unknown[] }>('/v1/feedback', { events });
      expect([status, body.refused.length]).toEqual([200, events.length]);
    }
    expect(
      await gateway.post('/v1/feedback', { events: [{ impressionId: 'A'.repeat(8_193), event: 'click' }] }),
    ).toMatchObject({
      status: 400,
      body: { path: 'events[0].impressionId' },
    });
    expect(await gateway.rank('u1')).toMatchObject({ arm: 'stable' });
  });

  test('the longest answer that can be asked for makes ids that are taken', async () => {
    const gateway = await world.gateway();
    // Control characters take the most room in a token.
    const { items } = await gateway.rank(
      'u1',
      Array.from({ length: 500 }, () => 1),
      { requestId: '\u0001'.repeat(256) },
    );
    const { impressionId } = nth(items, 499);
    expect(await gateway.click(impressionId)).toMatchObject({ accepted: 1, refused: [] });
  });
});

test.each(FORGED)('a token with %s is not opened', (_what, make, reason, code) => {
  const opened = tokens.open(make());
  expect(opened).toMatchObject({ kind: 'refused', code, reason: expect.stringMatching(reason) as string });
});

test('no text makes it throw, and none that was not signed is genuine', () => {
  for (const text of garbage(5_000)) expect(tokens.open(text).kind).toBe('refused');
});

test('any bytes that were signed are read back, and no others', () => {
  const stream = seededRandom(7);
  const random = (): number => stream.uniform();
  for (let round = 0; round < 300; round += 1) {
    const scores = Array.from({ length: 1 + Math.floor(random() * 500) }, () => random());
    const requestId = randomText(random, 256);
    const position = Math.floor(random() * scores.length);
    const id = impressionIdOf(tokens.sign(tokenOf({ requestId, scores })), position);
    expect(tokens.open(id)).toMatchObject({ kind: 'genuine', position, token: { version: 7 } });
    const at = Math.floor(random() * id.length);
    const other = id[at] === 'x' ? 'y' : 'x';
    expect(tokens.open(id.slice(0, at) + other + id.slice(at + 1)).kind).toBe('refused');
  }
});

/** Texts that look ever more like an id: bytes, base64url, JSON lists of the wrong fields, and genuine ids spoiled. */
function garbage(count: number): string[] {
  const stream = seededRandom(42);
  const random = (): number => stream.uniform();
  const pick = <T>(from: readonly T[]): T => nth(from, Math.floor(random() * from.length));
  const fields = ['k1', LINE, '', null, -1, 0.5, 1e308, 9e15, true, [], {}, ['k1'], '\ud800', 'x'.repeat(3_000)];
  const base64 = (text: string): string => Buffer.from(text).toString('base64url');
  const makers = [
    () => randomText(random, 200),
    () => base64(randomText(random, 500)),
    () => `${base64(randomText(random, 100))}.${base64(randomText(random, 100))}.AAAAAAAAAAAAAAAAAAAAAA.0`,
    () => `${base64(JSON.stringify(Array.from({ length: Math.floor(random() * 10) }, () => pick(fields))))}.AAAA.AA.0`,
    () => `${base64('['.repeat(Math.floor(random() * 6_000)))}.AAAA.AA.0`,
    () => `${base64(`["k1","feed","r",7,0,3,1e999,${'9'.repeat(400)}]`)}.AAAA.AA.0`,
    () => tokens.sign(tokenOf()).slice(0, Math.floor(random() * 100)),
    () => '.'.repeat(Math.floor(random() * 8_000)),
    () => `${tokens.sign(tokenOf())}.${pick(['', '-0', '1e0', '0x0', ' 0', '0\n', '99999', '100000', 'NaN', '0.0'])}`,
  ];
  return Array.from({ length: count }, (_, index) => nth(makers, index % makers.length)());
}

function randomText(random: () => number, longest: number): string {
  const length = Math.floor(random() * longest);
  return String.fromCharCode(...Array.from({ length }, () => Math.floor(random() * (random() < 0.5 ? 128 : 0x10000))));
}
