import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openModel } from '../../scoring/model-session.ts';
import { openLocalArtifacts } from '../../store/artifacts.ts';
import { readVersion } from '../../store/versions.ts';
import { createInstallation, servesAlone, untilStatus, type TestInstallation } from '../rig/installation.ts';
import { secondTrainer } from '../rig/second-trainer.ts';

let freshet: TestInstallation;

beforeAll(async () => {
  freshet = await createInstallation();
});

afterAll(async () => {
  await freshet.settle();
  await freshet.close();
});

describe('a line whose trainer is not the reference trainer', () => {
  it('trains on live traffic, answers in ONNX Runtime as the trainer does, and is promoted', async () => {
    await freshet.traffic.untilImpressions(800);
    const result = await freshet.runCycle({ training: { command: secondTrainer() } });

    expect(result, JSON.stringify(result.reasons)).toMatchObject({ outcome: 'promoted', version: 1 });
    expect(result.phases.map(({ phase }) => phase)).toContain('parity');
    await servesAlone(freshet, 1);
    const { lineage, modelSha256 } = await readVersion(freshet.db, { line: freshet.line, version: 1 });
    expect(lineage).toMatchObject({ strategy: 'full', environment: { trainer: 'gbdt' } });

    const { features } = await freshet.configure();
    const path = await openLocalArtifacts(freshet.env.FRESHET_ARTIFACTS).path(modelSha256 ?? '');
    const model = await openModel(await readFile(path), features);
    // The test's users click by x.
    const scores = await model.score({ count: 2, ids: new BigInt64Array(2), dense: Float32Array.of(-2, 2) });
    await model.close();
    expect(scores[1]).toBeGreaterThan((scores[0] ?? NaN) + 0.3);
  });

  it('goes on from its own checkpoint, and gets past the gate', async () => {
    await freshet.configure({ training: { command: secondTrainer() } });
    const handle = await freshet.startCycle();
    const { version } = await untilStatus(handle, ({ phase }) => phase === 'shadow' || phase === 'canary');

    const { lineage } = await readVersion(freshet.db, { line: freshet.line, version: version ?? 0 });
    expect(lineage).toMatchObject({ parent: 1, strategy: 'incremental', environment: { trainer: 'gbdt' } });
  });
});
