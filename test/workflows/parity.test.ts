import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Parity } from '../../policy/parity.ts';
import { readCycle } from '../../store/cycles.ts';
import { listVersions, readVersion } from '../../store/versions.ts';
import { createInstallation, fixtureTrainer, servesAlone, type TestInstallation } from '../rig/installation.ts';
import { runFreshet } from '../rig/freshet.ts';

const DISAGREEING = fileURLToPath(new URL('../fixtures/disagreeing-trainer.mjs', import.meta.url));
const disagreeing = (change: string): string[] => [process.execPath, DISAGREEING, change, ...fixtureTrainer('rising')];

let freshet: TestInstallation;

beforeAll(async () => {
  freshet = await createInstallation();
  vi.stubEnv('DATABASE_URL', freshet.env.DATABASE_URL);
});

afterAll(async () => {
  vi.unstubAllEnvs();
  await freshet.close();
});

describe('model.onnx against the trainer, before the gate', () => {
  it('is told with the version, and in what the cycle says of its training', async () => {
    const result = await freshet.coldStart();

    const { metrics } = await readVersion(freshet.db, { line: freshet.line, version: 1 });
    const { rows, maxDelta } = (metrics as { parity: Parity }).parity;
    expect(rows).toBeGreaterThan(100);
    expect(maxDelta).toBeLessThan(1e-6);
    expect(result.training).toMatchObject({ strategy: 'full', warnings: [], parity: { rows, maxDelta } });
    expect(result.phases.map(({ phase }) => phase).slice(3, 6)).toEqual(['train', 'parity', 'evaluate']);
    expect((await runFreshet('versions', freshet.line)).out).toMatch(/1 +stable .* full .*e-\d/);
  });

  it.each([
    ['shifted', 'parity.onnx', /differ on \d.* rows by at most 0\.0002 .*: trainer 0\.\d+, ONNX 0\.\d+/],
    ['nan', 'parity.not-a-number', /trainer no probability, ONNX 0\.\d+/],
    ['empty', 'parity.no-predictions', /left no predictions/],
    ['foreign', 'parity.unknown-rows', /such as never-shown/],
  ])(
    'rejects a challenger whose predictions are %s; it is neither evaluated nor registered',
    async (change, code, words) => {
      const result = await freshet.runCycle({ training: { command: disagreeing(change) } });

      expect(result).toMatchObject({ outcome: 'rejected', version: null, reasons: [{ code }] });
      expect(result.reasons[0]?.message).toMatch(words);
      expect(result.phases.at(-1)?.phase).toBe('parity');
      expect(result.notes.join()).toMatch(/artifact [0-9a-f]{64} is model\.onnx/);
      expect(await readCycle(freshet.db, result.cycleId)).toMatchObject({ outcome: 'rejected', candidate: null });
      expect(await listVersions(freshet.db, freshet.line)).toHaveLength(2);
      await servesAlone(freshet, 1);
    },
  );
});
