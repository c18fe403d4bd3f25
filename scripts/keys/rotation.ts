import { formatDuration } from '../../config/duration.ts';
import type { KeptKey } from '../../serving/signing-keys.ts';

/**
 * A rotation in steps, so that no gateway signs with a key that another does not accept: a new key is `add`ed behind the
 * one that signs, `promote`d to sign once every gateway accepts it, and the old one is `retire`d when the last click on
 * what it signed has expired.
 */
export const ROTATION_STEPS = ['add', 'promote', 'retire'] as const;
export type RotationStep = (typeof ROTATION_STEPS)[number];

export interface RotationRequest {
  step: RotationStep;
  at: Date;
  /** Makes the secret of an added key; at least 32 bytes. */
  makeSecret: () => Buffer;
  /** The longest time for which a line takes feedback. */
  tokenTtlMs: number;
  /** How long it takes until every gateway has a file that was changed. */
  settleMs: number;
  /** Every gateway was asked and has the keys of this file in force: nothing has to settle. */
  asked: boolean;
  /** Whatever is lost by it. */
  force: boolean;
}

/** What a key does: the first signs, one that never signed is `next`, one that did is `replaced`. */
export type KeyState = 'signs' | 'next' | 'replaced';

export function keyState(keys: readonly KeptKey[], place: number): KeyState {
  if (place === 0) return 'signs';
  return keys[place]?.replacedAt === null ? 'next' : 'replaced';
}

/** The step that a rotation which has begun needs next; `add` begins one. */
export function dueStep(keys: readonly KeptKey[]): RotationStep {
  const states = keys.map((_, place) => keyState(keys, place));
  if (states.includes('next')) return 'promote';
  return states.includes('replaced') ? 'retire' : 'add';
}

/**
 * The keys after a step.
 *
 * @throws Error that says why the step is refused, and from when on it is not.
 */
export function rotate(keys: readonly KeptKey[], request: RotationRequest): KeptKey[] {
  if (request.step === 'add') return addKey(keys, request);
  return request.step === 'promote' ? promoteKey(keys, request) : retireKeys(keys, request);
}

function addKey(keys: readonly KeptKey[], { at, makeSecret }: RotationRequest): KeptKey[] {
  const next = nextOf(keys);
  if (next.length > 0) throw new Error(`key ${names(next)} was added and does not sign yet: promote it before another`);
  return [...keys, { id: newId(keys), secret: makeSecret(), addedAt: at, replacedAt: null }];
}

function promoteKey(keys: readonly KeptKey[], request: RotationRequest): KeptKey[] {
  const { at, settleMs, asked, force } = request;
  const [next, ...others] = nextOf(keys);
  if (next === undefined) throw new Error('there is no key to promote: add one first');
  if (others.length > 0) {
    throw new Error(
      `keys ${names([next, ...others])} stand behind the one that signs and none is known to have signed: ` +
        'write replaced= and the time behind those that did, or remove them',
    );
  }
  if (!asked && !force) {
    const since = `every gateway needs key ${next.id} before one signs with it`;
    const advice = 'name the gateways with --gateway to have them asked';
    if (next.addedAt === null) throw new Error(`${since}, and when it was added is not known: ${advice}`);
    refuseBefore(new Date(next.addedAt.getTime() + settleMs), { at, why: `${since}; ${advice}` });
  }
  const rest = keys.filter((key) => key !== next);
  return [next, ...rest.map((key, place) => (place === 0 ? { ...key, replacedAt: at } : key))];
}

function retireKeys(keys: readonly KeptKey[], { at, tokenTtlMs, settleMs, force }: RotationRequest): KeptKey[] {
  const [signs, ...others] = keys;
  if (signs === undefined || others.length === 0)
    throw new Error('there is no key to retire: one signs, and no other is accepted');
  const replaced = others.filter(({ replacedAt }) => replacedAt !== null);
  if (force) return replaced.length === 0 ? [signs] : keys.filter((key) => !replaced.includes(key));
  if (replaced.length === 0) {
    throw new Error(`key ${names(others)} has not signed, so far as is known: promote it, or retire it with --force`);
  }
  const ends = replaced.map(({ replacedAt }) => (replacedAt?.getTime() ?? 0) + tokenTtlMs + settleMs);
  if (Math.min(...ends) > at.getTime()) {
    const until = `clicks on what key ${names(replaced)} signed are taken for ${formatDuration(tokenTtlMs)}`;
    refuseBefore(new Date(Math.min(...ends)), { at, why: `${until}; --force retires it now and loses them` });
  }
  const expired = new Set(replaced.filter((_, place) => (ends[place] ?? 0) <= at.getTime()));
  return keys.filter((key) => !expired.has(key));
}

function refuseBefore(allowed: Date, { at, why }: { at: Date; why: string }): void {
  if (allowed.getTime() <= at.getTime()) return;
  throw new Error(`not before ${allowed.toISOString()}: ${why}`);
}

const nextOf = (keys: readonly KeptKey[]): KeptKey[] => keys.filter((_, place) => keyState(keys, place) === 'next');

const names = (keys: readonly KeptKey[]): string => keys.map(({ id }) => id).join(', ');

/** `k2` after `k1`: an id is not given again while a key in the file is as new. */
function newId(keys: readonly KeptKey[]): string {
  const numbers = keys.map(({ id }) => Number(/^k(\d{1,9})$/.exec(id)?.[1] ?? 0));
  return `k${String(Math.max(...numbers) + 1)}`;
}
