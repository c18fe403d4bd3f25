import { WorkflowFailedError, WorkflowUpdateFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Evaluation } from '../../policy/evaluation.ts';
import { readCycle } from '../../store/cycles.ts';
import { listDecisions } from '../../store/decisions.ts';
import { readVersion } from '../../store/versions.ts';
import { approveUpdate, rejectUpdate } from '../../workflows/messages.ts';
import {
  createInstallation,
  fixtureTrainer,
  servesAlone,
  untilStatus,
  type TestInstallation,
} from '../rig/installation.ts';
import { replay } from '../rig/workflow-code.ts';

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

describe('a cycle that does not get as far as users', () => {
  it('is skipped on too few rows, with the numbers', async () => {
    const result = await freshet.runCycle({ snapshot: { minRows: 10_000_000 } });

    expect(result).toMatchObject({ outcome: 'skipped', version: null });
    expect(result.reasons[0]?.code).toBe('volume.min-rows');
    expect(result.reasons[0]?.message).toMatch(/10,?000,?000/);
    await servesAlone(freshet, 1);
  });

  it('is rejected when the challenger is worse than the champion, and keeps the version on record', async () => {
    const result = await freshet.runCycle({
      training: { command: fixtureTrainer('falling') },
      gate: { thresholds: [] },
    });

    expect(result.outcome).toBe('rejected');
    expect(await readVersion(freshet.db, { line: freshet.line, version: result.version ?? -1 })).toMatchObject({
      status: 'rejected',
      parent: 1,
    });
    await servesAlone(freshet, 1);
  });

  it('is rejected on an absolute threshold, whoever could approve; a trainer that prints garbage is no reason', async () => {
    const result = await freshet.runCycle({
      training: { command: fixtureTrainer('rising', 'garbage') },
      gate: { approval: 'always', thresholds: [{ metric: 'auc', min: 0.99 }] },
    });

    expect(result).toMatchObject({ outcome: 'rejected', gate: { kind: 'reject' } });
    expect(result.phases.map(({ phase }) => phase)).not.toContain('approval');
    expect(result.reasons.map(({ message }) => message).join(' ')).toContain('0.99');
  });

  it('is rejected when nothing can be told from the challenger’s model; it is not registered', async () => {
    const result = await freshet.runCycle({ training: { command: fixtureTrainer('nan') } });

    expect(result).toMatchObject({ outcome: 'rejected', version: null, reasons: [{ code: 'parity.unreadable' }] });
    await servesAlone(freshet, 1);
  });

  it('scores the champion on its own features, also on one that the config dropped since', async () => {
    const result = await freshet.runCycle({
      features: [
        { kind: 'categorical', name: 'topic', buckets: 101, dim: 2 },
        { kind: 'numeric', name: 'noise' },
      ],
      gate: { tolerance: 0, thresholds: [] },
    });

    // Without its `x` the champion would rank by chance: 0.5.
    const { metrics } = await readVersion(freshet.db, { line: freshet.line, version: result.version ?? -1 });
    const { evaluation } = metrics as { evaluation: Evaluation };
    expect(evaluation.champion).toBe(1);
    expect(evaluation.overall.champion?.auc.estimate).toBeGreaterThan(0.65);
    expect(result.outcome).toBe('rejected');
  });

  it('goes on from the checkpoint of a trainer whose machine was taken away', async () => {
    const result = await freshet.runCycle({
      training: { command: fixtureTrainer('rising', 'flaky') },
      gate: { thresholds: [{ metric: 'auc', min: 0.99 }] },
    });

    const { lineage } = await readVersion(freshet.db, { line: freshet.line, version: result.version ?? -1 });
    expect(lineage.environment).toMatchObject({ resumed: 'true' });
  });

  it.each([
    ['bad-data', /column "label" is missing/],
    ['empty', /left no model\.onnx/],
  ] as const)('fails loudly when training can not be done (%s)', async (mode, message) => {
    await freshet.configure({ training: { command: fixtureTrainer('rising', mode) } });
    const handle = await freshet.startCycle();

    const error: unknown = await handle.result().catch((thrown: unknown) => thrown);

    expect(error).toBeInstanceOf(WorkflowFailedError);
    expect((error as WorkflowFailedError).cause).toBeInstanceOf(ApplicationFailure);
    expect((error as WorkflowFailedError).cause?.message).toMatch(message);
    await replay(handle);
    await servesAlone(freshet, 1);
  });

  it('fails with what to do when there is no such trainer', async () => {
    await freshet.configure({ training: { command: ['no-such-trainer'] } });
    const handle = await freshet.startCycle();

    const error: unknown = await handle.result().catch((thrown: unknown) => thrown);

    expect((error as WorkflowFailedError).cause?.message).toMatch(/could not be started.*check training\.command/);
  });

  it('lets one of two starts at once have the line', async () => {
    await freshet.configure({
      training: { command: fixtureTrainer('rising') },
      gate: { thresholds: [{ metric: 'auc', min: 0.99 }] },
    });

    const handles = await Promise.all([freshet.startCycle(), freshet.startCycle()]);
    const results = await Promise.all(handles.map((handle) => handle.result()));

    expect(results.map(({ outcome }) => outcome).sort()).toEqual(['rejected', 'skipped']);
    expect(results.find(({ outcome }) => outcome === 'skipped')?.reasons[0]?.code).toBe('line.busy');
    for (const handle of handles) await replay(handle);
  });
});

describe('a person’s approval', () => {
  const asking = { gate: { approval: 'always', approvalDeadline: '20s' } } as const;

  it('is refused when nothing waits, for another version and without a name; a rejection ends the cycle', async () => {
    await freshet.configure({ training: { command: fixtureTrainer('rising', 'slow') }, ...asking });
    const training = await freshet.startCycle();
    await untilStatus(training, ({ phase }) => phase === 'train');
    const early = training.executeUpdate(approveUpdate, { args: [{ version: 1, who: 'ann', reason: 'fine' }] });
    await expect(early).rejects.toThrow(WorkflowUpdateFailedError);
    await training.cancel();
    expect((await training.result()).outcome).toBe('aborted');

    await freshet.configure(asking);
    const handle = await freshet.startCycle();
    const { waitingForApproval } = await untilStatus(handle, (status) => status.waitingForApproval !== null);
    const version = waitingForApproval?.version ?? -1;
    const said = (message: { version: number; who: string }): Promise<string> =>
      handle.executeUpdate(approveUpdate, { args: [{ ...message, reason: 'fine' }] });
    const cause = async (refused: Promise<unknown>): Promise<string> =>
      refused.then(
        () => 'accepted',
        (error: unknown) => String((error as WorkflowUpdateFailedError).cause?.message),
      );
    expect(await cause(said({ version: version + 1, who: 'ann' }))).toMatch(/not/);
    expect(await cause(said({ version, who: ' ' }))).toMatch(/say who/);
    await handle.executeUpdate(rejectUpdate, { args: [{ version, who: 'ann', reason: 'the slate looks odd' }] });

    const result = await handle.result();
    expect(result.outcome).toBe('rejected');
    expect(result.reasons[0]?.message).toBe('rejected by ann: the slate looks odd');
    expect(await listDecisions(freshet.db, { line: freshet.line, version })).toMatchObject([
      { kind: 'rejected', who: 'ann', why: 'the slate looks odd', details: { gate: { kind: 'pass' } } },
    ]);
    await replay(handle);
  });

  it('rejects when nobody decides before the deadline', async () => {
    const result = await freshet.runCycle({ gate: { approval: 'always', approvalDeadline: '500ms' } });

    expect(result.outcome).toBe('rejected');
    expect(result.reasons[0]?.code).toBe('approval.expired');
    const { db, line } = freshet;
    expect(await listDecisions(db, { line, version: result.version ?? -1 })).toMatchObject([{ kind: 'expired' }]);
    const { rows } = await db.query<{ title: string }>(
      `select alert->>'title' as title from outbox where starts_with(dedup_key, $1) order by id`,
      [`${result.cycleId}/approval/`],
    );
    expect(rows.map(({ title }) => title).join()).toMatch(/waits for approval.*nobody decided/);
  });

  it('lets the version go on to shadow', async () => {
    await freshet.configure(asking);
    const handle = await freshet.startCycle();
    const { waitingForApproval, cycleId } = await untilStatus(handle, (status) => status.waitingForApproval !== null);

    await handle.executeUpdate(approveUpdate, {
      args: [{ version: waitingForApproval?.version ?? -1, who: 'ann', reason: 'looked at the card' }],
    });
    await untilStatus(handle, ({ phase }) => phase === 'shadow');
    await handle.signal('abort', { who: 'ann', reason: 'enough seen' });

    expect((await handle.result()).outcome).toBe('aborted');
    expect((await readCycle(freshet.db, cycleId ?? '')).outcome).toBe('aborted');
    await replay(handle);
    await servesAlone(freshet, 1);
  });
});
