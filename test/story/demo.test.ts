import { spawn } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { DemoReport } from '../../scripts/demo/report.ts';
import { entryPoint, projectRoot } from '../../scripts/stack/project.ts';

/** A log day and a cycle in 50 s instead of 80: the shortest that fits a cycle on two cores. */
const SPEED = '288';

it('plays all six cycles as told, on a short slice', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'freshet-story-'));
  // Started by root, Postgres runs as another user, who must be able to enter.
  await chmod(folder, 0o755);
  const report = join(folder, 'report.json');
  try {
    const { code, output } = await demo(['--speed', SPEED, '--json', report], folder);

    expect(code, output).toBe(0);
    const { cycles, rollback, traffic } = JSON.parse(await readFile(report, 'utf8')) as DemoReport;
    expect(cycles.map(({ outcome }) => outcome)).toEqual([
      ...['promoted', 'promoted', 'skipped', 'rolledBack', 'rolledBack', 'skipped'],
    ]);
    expect(traffic.requests).toBeGreaterThan(10_000);
    expect(traffic.failed).toBe(0);
    expect(rollback?.decisionToConfirmedMs).toBeGreaterThanOrEqual(0);
    expect(rollback?.firstFailedCheckToConfirmedMs).toBeLessThan(180_000);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

function demo(args: string[], dataDir: string): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    // The story brings servers of its own, whatever the other tests were given.
    const { DATABASE_URL: _database, TEMPORAL_ADDRESS: _temporal, ...inherited } = process.env;
    const env = { ...inherited, FRESHET_DIR: dataDir };
    const child = spawn(process.execPath, [...entryPoint('scripts/demo.ts'), ...args], {
      cwd: projectRoot(),
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const collect = (chunk: Buffer): void => {
      output += chunk.toString();
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.once('error', reject);
    child.once('close', (code) => {
      resolve({ code, output });
    });
  });
}
