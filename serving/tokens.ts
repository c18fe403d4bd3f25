import { createHmac, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { checkSigningKeys, type SigningKey } from './signing-keys.ts';

export const ANSWER_ARMS = ['stable', 'canary', 'holdback', 'exploration'] as const;
export type AnswerArm = (typeof ANSWER_ARMS)[number];

/** What a rank answer signs, so that feedback finds its variant on any gateway without a look-up. */
export interface AnswerToken {
  line: string;
  requestId: string;
  version: number;
  arm: AnswerArm;
  epoch: number;
  /** Operating time of the answer, Unix ms: names the health bucket. */
  answeredAtMs: number;
  /** Event time of the request, Unix ms: tokens expire by it. */
  eventTimeMs: number;
  /** Of the slate, by position. Read back within 0.0003 of their log-odds, clipped to [1e-6, 1 - 1e-6]. */
  scores: readonly number[];
}

export type OpenedImpression =
  | {
      kind: 'genuine';
      token: AnswerToken;
      position: number;
      score: number;
      /** Unique for the impression, and short. */
      key: string;
    }
  | { kind: 'refused'; code: TokenRefusal; reason: string };

/** Why an impression id is none of ours: few, so that they can be counted by. */
export type TokenRefusal = 'malformed' | 'unknownKey' | 'signature' | 'position';

/** An impression id: what clients send back. */
export const impressionIdOf = (token: string, position: number): string => `${token}.${String(position)}`;

/** What an impression is called in the event log: its id without all that the signature vouches for. */
export const impressionKeyOf = (token: string, position: number): string =>
  impressionIdOf(token.slice(token.lastIndexOf('.') + 1), position);

export interface Tokens {
  /** The token of an answer; an impression id is the token, a dot and the position. */
  sign(token: AnswerToken): string;
  /** Never throws, whatever the text. */
  open(impressionId: string): OpenedImpression;
  /**
   * Signs with other keys from now on.
   *
   * @throws Error when there is no key to sign with.
   */
  use(keys: readonly SigningKey[]): void;
}

const MIN_PROBABILITY = 1e-6;
const MAX_LOG_ODDS = Math.log((1 - MIN_PROBABILITY) / MIN_PROBABILITY);
const LEVELS = 0xffff;
const SIGNATURE_BYTES = 16;
/** One spelling each: another would be another impression to whoever removes duplicates. */
const POSITION = /^(0|[1-9]\d{0,4})$/;

const headerSchema = z.tuple([
  z.string(),
  z.string(),
  z.string(),
  z.number().int(),
  z
    .number()
    .int()
    .min(0)
    .max(ANSWER_ARMS.length - 1),
  z.number().int(),
  z.number(),
  z.number(),
]);

/**
 * Tokens are `header.scores.signature`, base64url: the header a JSON list (key id, line, request, version, arm, epoch,
 * times), the scores 16-bit log-odds, the signature the first 128 bits of HMAC-SHA256. They are signed, not secret.
 *
 * @throws Error when there is no key to sign with.
 */
export function createTokens(keys: readonly SigningKey[]): Tokens {
  checkSigningKeys(keys);
  let inForce = keys;

  return {
    use(next) {
      checkSigningKeys(next);
      inForce = next;
    },

    sign({ line, requestId, version, arm, epoch, answeredAtMs, eventTimeMs, scores }) {
      const [current] = inForce;
      if (current === undefined) throw new Error('no signing key');
      const header = [current.id, line, requestId, version, ANSWER_ARMS.indexOf(arm), epoch, answeredAtMs, eventTimeMs];
      const body = `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${packScores(scores)}`;
      return `${body}.${signature(body, current)}`;
    },

    open(impressionId) {
      const [header = '', scores = '', signed = '', place = '', ...rest] = impressionId.split('.');
      const fields = parseHeader(header);
      if (fields === null || rest.length > 0 || !POSITION.test(place)) {
        return refused('malformed', 'not an impression id of a rank answer');
      }
      const [keyId, line, requestId, version, arm, epoch, answeredAtMs, eventTimeMs] = fields;
      const key = inForce.find(({ id }) => id === keyId);
      if (key === undefined) return refused('unknownKey', 'signed with a key that is not, or no longer, accepted');
      if (!sameText(signature(`${header}.${scores}`, key), signed)) {
        return refused('signature', 'the signature does not match: this id was not handed out, or was changed');
      }
      const slate = unpackScores(scores);
      const position = Number(place);
      const score = slate[position];
      if (score === undefined) {
        return refused('position', `the answer had ${String(slate.length)} items, none at position ${place}`);
      }
      const armName = ANSWER_ARMS[arm] ?? 'stable';
      const token = { line, requestId, version, arm: armName, epoch, answeredAtMs, eventTimeMs, scores: slate };
      return { kind: 'genuine', token, position, score, key: `${signed}.${place}` };
    },
  };
}

const refused = (code: TokenRefusal, reason: string): OpenedImpression => ({ kind: 'refused', code, reason });

function signature(body: string, key: SigningKey): string {
  return createHmac('sha256', key.secret).update(body).digest().subarray(0, SIGNATURE_BYTES).toString('base64url');
}

function sameText(expected: string, given: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)];
  return a.byteLength === b.byteLength && timingSafeEqual(a, b);
}

function parseHeader(text: string): z.infer<typeof headerSchema> | null {
  try {
    return headerSchema.parse(JSON.parse(Buffer.from(text, 'base64url').toString()));
  } catch {
    return null;
  }
}

function packScores(scores: readonly number[]): string {
  const packed = Buffer.alloc(scores.length * 2);
  for (const [position, score] of scores.entries()) {
    const p = Math.min(Math.max(score, MIN_PROBABILITY), 1 - MIN_PROBABILITY);
    const level = Math.round(((Math.log(p / (1 - p)) + MAX_LOG_ODDS) / (2 * MAX_LOG_ODDS)) * LEVELS);
    packed.writeUInt16LE(level, position * 2);
  }
  return packed.toString('base64url');
}

function unpackScores(text: string): number[] {
  const packed = Buffer.from(text, 'base64url');
  return Array.from({ length: packed.byteLength >> 1 }, (_, position) => {
    const logOdds = (packed.readUInt16LE(position * 2) / LEVELS) * 2 * MAX_LOG_ODDS - MAX_LOG_ODDS;
    return 1 / (1 + Math.exp(-logOdds));
  });
}
