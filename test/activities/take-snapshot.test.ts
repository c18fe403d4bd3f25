import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import type { DataDependencies } from '../../activities/dependencies.ts';
import { takeSnapshot } from '../../activities/take-snapshot.ts';
import { openLocalArtifacts } from '../../store/artifacts.ts';
import { temporaryFolder } from '../data/feed.ts';
import { createTestDatabase } from '../rig/database.ts';
import { claim, lineWithStable } from '../store/stage.ts';

test('an attempt that ends late leaves the folder of the next one alone, and removes what one before it left', async () => {
  const database = await createTestDatabase();
  onTestFinished(() => database.drop());
  await lineWithStable(database.db);
  const { cycleId } = await claim(database.db, 'c9');
  // Versions of a stage have no snapshot on record: the cycle trains from scratch.
  await database.db.query('update cycles set parent = null where cycle_id = $1', [cycleId]);
  const root = await temporaryFolder();
  const workDir = join(root, 'work', 'snapshots', cycleId);
  await mkdir(join(workDir, 'snapshot-cut-off'), { recursive: true });
  const artifacts = openLocalArtifacts(join(root, 'artifacts'));
  const deps: DataDependencies = {
    ...{ db: database.db, logger: pino({ level: 'silent' }), uiUrl: null, codeVersion: 'test' },
    ...{ logRoot: join(root, 'log'), workRoot: join(root, 'work'), logTable: null, processEnv: {}, reportsUrl: null },
    artifacts: {
      path: (sha256) => artifacts.path(sha256),
      get: (sha256) => artifacts.get(sha256),
      putFile: (path) => artifacts.putFile(path),
      put: async (bytes) => {
        await mkdir(join(workDir, 'snapshot-next'));
        return artifacts.put(bytes);
      },
    },
  };

  const { rows } = await takeSnapshot(deps, { cycleId });

  expect(rows).toEqual({ train: 0, replay: 0, holdout: 0 });
  expect(await readdir(workDir)).toEqual(['snapshot-next']);
  expect((await stat(join(workDir, 'snapshot-next'))).isDirectory()).toBe(true);
});
