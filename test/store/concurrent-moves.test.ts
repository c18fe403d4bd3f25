import { fork, type ChildProcess } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { projectRoot } from '../../scripts/stack/project.ts';
import type { Database } from '../../store/database.ts';
import { applyLine } from '../../store/lines.ts';
import { currentRoute, routeHistory } from '../../store/routes.ts';
import { listVersions } from '../../store/versions.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import type { MoverReport } from './route-mover.ts';
import { LINE, lineConfig } from './stage.ts';

const PROCESSES = 8;
const MOVES = 1_000;
const LINES = [LINE, 'sports'];
/** Most moves are of the first line. */
const CHOICE = [LINE, LINE, LINE, 'sports'];
const folder = join(projectRoot(), '.freshet', `route-mover-${String(process.pid)}`);
const program = join(folder, 'route-mover.mjs');
let stage: TestDatabase;

beforeAll(async () => {
  stage = await createTestDatabase();
  for (const line of LINES) await applyLine(stage.db, { config: lineConfig({ line }), who: 'test' });
  await mkdir(folder, { recursive: true });
  // Eight processes that each compile the sources would take longer than the moves.
  const entryPoints = [join(projectRoot(), 'test/store/route-mover.ts')];
  await build({ entryPoints, outfile: program, bundle: true, platform: 'node', format: 'esm', packages: 'external' });
});
afterAll(async () => {
  await stage.drop();
  await rm(folder, { recursive: true });
});

test(
  '1,000 moves by 8 processes: always one stable, epochs without gap or repeat, each move one epoch',
  { timeout: 180_000 },
  async () => {
    const { db } = stage;
    const running = { now: true };
    const watching = watch(db, running);
    const reports = await moveAll().finally(() => (running.now = false));
    const looks = await watching;

    const made = reports.flatMap((report) => report.made);
    expect(made).toHaveLength(MOVES);
    expect(looks).toBeGreaterThan(100);
    const refused = reports.flatMap((report) => Object.keys(report.refused));
    expect(refused).toEqual(expect.arrayContaining(['epochMoved', 'cycleClosed', 'alreadyDone']));
    expect(new Set(made.map(({ kind }) => kind))).toEqual(
      new Set([
        'shadow or canary',
        'promote',
        'settle',
        'cycle rollback',
        'late cycle rollback',
        'operator rollback',
        'operator rollback to',
      ]),
    );
    expect(reports.flatMap(({ unequal }) => unequal)).toEqual([]);
    for (const line of LINES) {
      const history = (await routeHistory(db, { line, limit: 10_000 })).reverse();
      expect(history.map(({ epoch }) => epoch)).toEqual(history.map((_, index) => index + 1));
      const byEpoch = made.filter((move) => move.line === line).sort((a, b) => a.epoch - b.epoch);
      expect(history.slice(1).map(({ epoch, why }) => [epoch, why])).toEqual(
        byEpoch.map(({ epoch, attempt }) => [epoch, attempt]),
      );
      // Both ends of a watch were reached.
      const watched = history.filter(({ holdbackVersion }) => holdbackVersion !== null);
      expect(watched.length).toBeGreaterThan(0);
      const after = watched.map(({ epoch }) => history[epoch]).filter((route) => route !== undefined);
      expect(after.every(({ holdbackVersion }) => holdbackVersion === null)).toBe(true);
      const stables = (await listVersions(db, line)).filter(({ status }) => status === 'stable');
      expect(stables.map(({ version }) => version)).toEqual([(await currentRoute(db, line)).stable]);
    }
  },
);

/** Looks as fast as it can, each time at one moment of the database. Returns how often it looked. */
async function watch(db: Database, running: { now: boolean }): Promise<number> {
  const epochs = new Map<string, number>();
  let looks = 0;
  for (; running.now; looks += 1) {
    const { rows } = await db.query<{ line: string; epoch: number; routed: number; stables: number[] }>(
      `select h.line, h.epoch, r.stable as routed,
         array(select v.version from versions v where v.line = h.line and v.status = 'stable') as stables
       from route_heads h join routes r using (line, epoch)`,
    );
    expect(rows).toHaveLength(LINES.length);
    for (const { line, epoch, routed, stables } of rows) {
      expect(stables, `the stables of ${line} at epoch ${String(epoch)}`).toEqual([routed]);
      expect(epoch).toBeGreaterThanOrEqual(epochs.get(line) ?? 1);
      epochs.set(line, epoch);
    }
    await sleep(10);
  }
  return looks;
}

/** Starts the processes, lets them go at the same moment and waits for their reports. */
async function moveAll(): Promise<MoverReport[]> {
  const movers = Array.from({ length: PROCESSES }, (_, index) =>
    fork(program, [stage.url, `mover-${String(index)}`, String(MOVES / PROCESSES), ...CHOICE], { execArgv: [] }),
  );
  try {
    await Promise.all(movers.map((mover) => messageOf(mover)));
    const reports = movers.map((mover) => messageOf(mover) as Promise<MoverReport>);
    for (const mover of movers) mover.send('go');
    return await Promise.all(reports);
  } finally {
    for (const mover of movers) mover.kill();
  }
}

function messageOf(mover: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    mover.once('message', resolve);
    mover.once('error', reject);
    mover.once('exit', (code) => {
      reject(new Error(`a mover left with code ${String(code)} before it was done: see above for why`));
    });
  });
}
