import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { formatSigningKeys, parseSigningKeys } from '../../serving/signing-keys.ts';
import { nth } from './nth.ts';
import { createTokens, type AnswerToken } from '../../serving/tokens.ts';

const secret = randomBytes(32);
const keys = [{ id: 'k1', secret }];
const TOKEN: AnswerToken = {
  ...{ line: 'news-feed', requestId: 'r/1.ü', version: 12, arm: 'exploration', epoch: 9 },
  ...{ answeredAtMs: 1_700_000_000_123, eventTimeMs: 1_600_000_000_456, scores: [0.9, 0.5, 0.001] },
};

test('what was signed is read back, the scores within 0.0003 of their log-odds', () => {
  const tokens = createTokens(keys);
  const opened = tokens.open(`${tokens.sign(TOKEN)}.1`);
  if (opened.kind === 'refused') throw new Error(opened.reason);
  const { scores, ...rest } = TOKEN;
  expect(opened.token).toMatchObject(rest);
  expect(opened.position).toBe(1);
  const logOdds = (p: number): number => Math.log(p / (1 - p));
  for (const [index, score] of scores.entries()) {
    expect(Math.abs(logOdds(nth(opened.token.scores, index)) - logOdds(score))).toBeLessThan(3e-4);
  }
  expect(opened.score).toBe(opened.token.scores[1]);
});

test('scores of 0 and 1 are clipped to what log loss allows', () => {
  const tokens = createTokens(keys);
  const opened = tokens.open(`${tokens.sign({ ...TOKEN, scores: [0, 1] })}.0`);
  if (opened.kind === 'refused') throw new Error(opened.reason);
  expect(opened.token.scores[0]).toBeCloseTo(1e-6, 9);
  expect(opened.token.scores[1]).toBeCloseTo(1 - 1e-6, 9);
});

test('every changed character of an impression id is noticed', () => {
  const tokens = createTokens(keys);
  const id = `${tokens.sign(TOKEN)}.0`;
  for (let index = 0; index < id.length; index++) {
    const other = id[index] === 'A' ? 'B' : 'A';
    const changed = id.slice(0, index) + other + id.slice(index + 1);
    expect(tokens.open(changed).kind, `character ${String(index)}`).toBe('refused');
  }
});

test('a line a key, comments and what a rotation wrote down are read, and written again', () => {
  const at = new Date('2026-01-31T12:00:00Z');
  const written = formatSigningKeys([
    { id: 'k2', secret, addedAt: at, replacedAt: null },
    { id: 'k1', secret: randomBytes(48), addedAt: null, replacedAt: at },
  ]);
  const read = parseSigningKeys(written);
  expect(read).toMatchObject([
    { id: 'k2', secret, addedAt: at, replacedAt: null },
    { id: 'k1', addedAt: null, replacedAt: at },
  ]);
  expect(formatSigningKeys(read)).toBe(written);
  expect(parseSigningKeys(`# old, from ann\n\n${written}`)).toEqual(read);
  for (const behind of ['added=soon', 'added', 'until=2026-01-31']) {
    const text = `k1:${secret.toString('base64')} ${behind}`;
    expect(() => parseSigningKeys(text)).toThrow(/secret of signing key "k1" is not a time/);
  }
});

test('keys can be replaced while tokens are signed and opened', () => {
  const next = { id: 'k2', secret: randomBytes(32) };
  const tokens = createTokens(keys);
  const first = `${tokens.sign(TOKEN)}.0`;
  tokens.use([next, ...keys]);
  const second = `${tokens.sign(TOKEN)}.0`;
  expect([first, second].map((id) => tokens.open(id).kind)).toEqual(['genuine', 'genuine']);
  expect(() => {
    tokens.use([]);
  }).toThrow('no key to sign');
  tokens.use([next]);
  expect([first, second].map((id) => tokens.open(id).kind)).toEqual(['refused', 'genuine']);
});

test('keys are read from their text, and nonsense says how to make one without showing it', () => {
  const text = `k1:${secret.toString('base64')}, old:${randomBytes(48).toString('base64')}`;
  expect(parseSigningKeys(text).map(({ id }) => id)).toEqual(['k1', 'old']);
  expect(parseSigningKeys(text)[0]?.secret).toEqual(secret);
  expect(() => parseSigningKeys('')).toThrow(/no key.*make one with: node -e/);
  expect(() => parseSigningKeys('hunter2')).toThrow(/not written id:base64secret: make one with/);
  expect(() => parseSigningKeys('hunter2')).not.toThrow(/hunter2/);
  expect(() => parseSigningKeys(`k1:${secret.toString('base64')},k1:${secret.toString('base64')}`)).toThrow(
    'given twice',
  );
});
