import { describe, expect, it } from 'vitest';
import { explainRefusal } from '../../activities/refusal.ts';
import type { Route } from '../../store/types.ts';

const current: Route = {
  ...{ line: 'feed', epoch: 9, stable: 3, canary: null, canaryShare: 0, holdback: 0 },
  ...{ holdbackVersion: null, shadow: null, shadowShare: 0 },
  ...{ salt: 's', cycleId: null, who: 'ann', why: 'by hand', at: new Date(0) },
};

describe('explainRefusal', () => {
  it.each([
    [{ kind: 'cycleClosed', outcome: 'rolledBack' } as const, /closed from outside as rolledBack/],
    [{ kind: 'epochMoved', expected: 8, current } as const, /epoch 9 by ann \(by hand\).*expected epoch 8/],
    [{ kind: 'championChanged', champion: 3, stable: 4 } as const, /version 3.*version 4 is stable now/],
    [{ kind: 'leaseExpired' } as const, /lease of the candidate ran out/],
  ])('says what happened: %o', (refused, message) => {
    const { kind, reason } = explainRefusal(refused);

    expect(kind).toBe(refused.kind);
    expect(reason.message).toMatch(message);
  });
});
