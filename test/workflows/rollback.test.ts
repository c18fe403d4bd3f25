import { setTimeout as wait } from 'node:timers/promises';
import type { WorkflowFailedError } from '@temporalio/client';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { LineConfigInput } from '../../config/schema.ts';
import { openIncidents } from '../../store/incidents.ts';
import { registerProcess, removeProcess, touchProcess } from '../../store/processes.ts';
import { readVersion } from '../../store/versions.ts';
import { forceRollbackSignal } from '../../workflows/messages.ts';
import {
  createInstallation,
  fixtureTrainer,
  servesAlone,
  untilStatus,
  type TestInstallation,
} from '../rig/installation.ts';
import { replay } from '../rig/workflow-code.ts';

/** A model that ranks the wrong way round, past every gate before the canary. */
const BAD_MODEL: Partial<LineConfigInput> = {
  training: { command: fixtureTrainer('falling') },
  gate: { tolerance: 1, thresholds: [] },
  silences: [{ guard: 'shadow.divergence', until: '2999-01-01T00:00:00Z', reason: 'test: let it reach the canary' }],
};

let freshet: TestInstallation;

beforeAll(async () => {
  freshet = await createInstallation({ sharePreparation: true });
  await freshet.coldStart();
});

afterEach(async () => {
  await freshet.settle();
});

afterAll(async () => {
  await freshet.close();
});

describe('a canary that is worse', () => {
  it('is rolled back after three failed checks, confirmed by the gateway, without a failed request', async () => {
    const result = await freshet.runCycle({ ...BAD_MODEL, canary: { window: '60s' } });

    expect(result.outcome).toBe('rolledBack');
    expect(result.reasons[0]?.code).toBe('breaker.failures');
    const { firstFailedCheckAtMs, decidedAtMs, confirmedAtMs } = result.rollback ?? {};
    expect(firstFailedCheckAtMs).toBeLessThan(decidedAtMs ?? 0);
    expect(confirmedAtMs).toBeGreaterThanOrEqual(decidedAtMs ?? Infinity);
    expect(await readVersion(freshet.db, { line: freshet.line, version: result.version ?? -1 })).toMatchObject({
      status: 'rolledBack',
    });
    await servesAlone(freshet, 1);
    expect(freshet.traffic.stats.failed).toBe(0);
  });

  it('is not even shown when the shadow tells', async () => {
    const answered = freshet.traffic.stats.byArm['canary'];
    // As long as it takes: what is divergent ends it at once.
    const result = await freshet.runCycle({ ...BAD_MODEL, silences: [], shadow: { duration: '40s' } });

    // Its scores are those of the champion, on average and in their distribution: only the rankings tell.
    expect(result).toMatchObject({ outcome: 'rejected', reasons: [{ code: 'shadow.rank-agreement' }] });
    // Both models add up to 0.004 to the log-odds by topic: two candidates that are closer than that may be ranked alike.
    expect(result.notes.join('\n')).toMatch(
      /shadow: \d+ copies \(0 failed, 0 NaN, \d+ dropped\); .*tau-b -(1|0\.9\d*)[,;]/,
    );
    expect(freshet.traffic.stats.byArm['canary']).toBe(answered);
    await servesAlone(freshet, 1);
  });

  it('is not promoted when nothing can be known about it: too little data extends once, then rolls back', async () => {
    const result = await freshet.runCycle({ canary: { window: '1s' }, health: { minImpressions: 10_000_000 } });

    expect(result.outcome).toBe('rolledBack');
    expect(result.reasons.map(({ code }) => code)).toContain('breaker.step-undecided');
    await servesAlone(freshet, 1);
  });

  it('is rolled back when the source of a limit stays unreachable', async () => {
    const result = await freshet.runCycle({
      canary: { window: '60s', maxUnknown: '700ms' },
      health: { prometheus: [{ name: 'dwell', query: 'sum(dwell{version="{version}"})', min: 1 }] },
    });

    expect(result.outcome).toBe('rolledBack');
    expect(result.reasons[0]?.code).toBe('breaker.unknown');
  });
});

describe('a rollback that a gateway does not confirm', () => {
  it('pages at the deadline, goes on trying, and fails the workflow once it is confirmed', async () => {
    await freshet.configure({ canary: { window: '60s', lease: '2s', rollbackDeadline: '3s' } });
    const handle = await freshet.startCycle();
    const { cycleId } = await untilStatus(handle, ({ canaryPercent }) => canaryPercent !== null);
    // Alive, and never done with the requests it routed under the canary's epoch.
    const stuck = { processId: 'stuck', line: freshet.line, boot: 'b' };
    await registerProcess(freshet.db, stuck);
    const alive = setInterval(() => void touchProcess(freshet.db, stuck), 200);
    await handle.signal(forceRollbackSignal, { who: 'ann', reason: 'now' });

    const paged = async (): Promise<boolean> => {
      const { rowCount } = await freshet.db.query('select from outbox where page and dedup_key = $1', [
        `${String(cycleId)}/late`,
      ]);
      return rowCount === 1;
    };
    while (!(await paged())) await wait(100);
    await servesAlone(freshet, 1);
    const early = await Promise.race([handle.result(), wait(500).then(() => 'still trying')]);
    expect(early).toBe('still trying');
    clearInterval(alive);
    await removeProcess(freshet.db, stuck);

    const error: unknown = await handle.result().catch((thrown: unknown) => thrown);
    expect((error as WorkflowFailedError).cause?.message).toMatch(/confirmed only after its deadline/);
    // The page is over.
    const open = await openIncidents(freshet.db, freshet.line);
    expect(open.map(({ key }) => key)).not.toContain(`${String(cycleId)}/late`);
    await replay(handle);
  });
});

describe('a rollback in a race', () => {
  /** Holds the open cycle's row, so that every write of the cycle hangs until it is released. */
  async function holdCycle(): Promise<() => Promise<void>> {
    const client = await freshet.db.connect();
    await client.query('begin');
    await client.query('select from cycles where line = $1 and closed_at is null for update', [freshet.line]);
    return async () => {
      await client.query('rollback');
      client.release();
    };
  }

  it('with a deploy that hangs: the candidate is off the route whichever commits first', async () => {
    await freshet.configure({ shadow: { duration: '3s' } });
    const handle = await freshet.startCycle();
    await untilStatus(handle, ({ phase }) => phase === 'shadow');
    await wait(300);
    const release = await holdCycle();
    await wait(3_500);
    await handle.signal(forceRollbackSignal, { who: 'ann', reason: 'now' });
    await wait(500);
    await release();

    const result = await handle.result();
    expect(result.outcome).toBe('rolledBack');
    await replay(handle);
    await servesAlone(freshet, 1);
  });

  /** Every promotion hangs in its transaction until released; `reached` tells that one does. */
  async function holdPromotions(): Promise<{ reached: () => Promise<boolean>; release: () => Promise<void> }> {
    const client = await freshet.db.connect();
    await client.query(`
      create function hold_promotion() returns trigger language plpgsql as
        $$ begin perform pg_advisory_xact_lock(7); return new; end $$;
      create trigger hold_promotion before update on versions for each row
        when (old.status = 'canary' and new.status = 'stable') execute function hold_promotion();`);
    await client.query('select pg_advisory_lock(7)');
    return {
      reached: async () => {
        const waiting = `select from pg_locks where locktype = 'advisory' and not granted
          and database = (select oid from pg_database where datname = current_database())`;
        return (await client.query(waiting)).rowCount === 1;
      },
      release: async () => {
        await client.query('select pg_advisory_unlock(7)');
        await client.query('drop trigger hold_promotion on versions');
        client.release();
      },
    };
  }

  it('with a promote that hangs: rollback wins, and the stable of the start serves', async () => {
    await freshet.configure({ canary: { steps: [50], window: '1s' } });
    const promotions = await holdPromotions();
    const handle = await freshet.startCycle();
    while (!(await promotions.reached())) await wait(25);
    await handle.signal(forceRollbackSignal, { who: 'ann', reason: 'now' });
    await wait(500);
    await promotions.release();

    const result = await handle.result();
    expect(result).toMatchObject({ outcome: 'rolledBack' });
    await replay(handle);
    await servesAlone(freshet, 1);
  });
});
