import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { stringify } from 'yaml';
import { HOUR_MS, NOON_MS, writeLog } from './log-files.ts';
import { startStandInGateway, type StandInGateway } from './stand-in-gateway.ts';

const ROOT = join(import.meta.dirname, '../..');

interface Run {
  child: ChildProcessWithoutNullStreams;
  lines: Record<string, unknown>[];
  errors: string[];
  exitCode: Promise<number | null>;
}

let folder: string;
let gateway: StandInGateway;
let config: string;
const runs: Run[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freshet-replay-main-'));
  gateway = await startStandInGateway();
  config = join(folder, 'line.yaml');
  await writeFile(
    config,
    stringify({
      line: 'replayed',
      clock: 'replay',
      features: [{ kind: 'categorical', name: 'topic' }],
      log: { user: 'user', item: 'item', timeMs: 'at', label: 'clicked', dwellMs: 'watched_ms' },
    }),
  );
});
afterEach(async () => {
  for (const { child } of runs.splice(0)) child.kill('SIGKILL');
  await gateway.close();
  await rm(folder, { recursive: true, force: true });
});

function run(...args: string[]): Run {
  const child = spawn(process.execPath, ['--import', 'tsx', 'simulator/replay-main.ts', ...args], { cwd: ROOT });
  const lines: Run['lines'] = [];
  const errors: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) =>
    lines.push(JSON.parse(line) as Record<string, unknown>),
  );
  createInterface({ input: child.stderr }).on('line', (line) => errors.push(line));
  const exitCode = once(child, 'close').then(([code]) => code as number | null);
  const started = { child, lines, errors, exitCode };
  runs.push(started);
  return started;
}

const ofType = ({ lines }: Run, type: string): Record<string, unknown>[] =>
  lines.filter((line) => line['type'] === type);
const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 30_000, interval: 20 });

describe('the replayer as a process', () => {
  it('says what it replays and how the clocks map, takes commands, and ends when told to', async () => {
    const log = await writeLog(folder, [{ user: 'a' }, { user: 'b', at: NOON_MS + HOUR_MS }]);
    const replay = run(
      '--config',
      config,
      '--gateway',
      gateway.url,
      '--log',
      log,
      '--day-ms',
      '8640000',
      '--stats-every-ms',
      '50',
    );
    await until(() => {
      expect(gateway.ranked.map(({ userId }) => userId)).toEqual(['a']);
    });
    expect(replay.lines[0]).toMatchObject({ type: 'ready', source: 'log', path: log, rows: 2, firstMs: NOON_MS });
    expect(replay.lines[1]).toMatchObject({ type: 'timeline', eventMs: NOON_MS, rate: 10 });

    replay.child.stdin.write('{"command":"hold"}\nnonsense\n{"command":"day","dayMs":24000}\n{"command":"resume"}\n');
    await until(() => {
      expect(gateway.ranked.map(({ userId }) => userId)).toEqual(['a', 'b']);
      expect(ofType(replay, 'stats').at(-1)).toMatchObject({ requests: 2, failed: 0 });
    });
    expect(ofType(replay, 'timeline').map((line) => line['rate'])).toEqual([10, 0, 3_600]);
    expect(replay.errors).toEqual(['not a command: nonsense']);

    replay.child.stdin.write('{"command":"stop"}\n');
    expect(await replay.exitCode).toBe(0);
    expect(replay.lines.at(-1)).toMatchObject({ type: 'stopped', requests: 2, failed: 0, inFlight: 0 });
  });

  it('stops when its parent is gone', async () => {
    const replay = run(
      '--config',
      'config/simulated-feed.yaml',
      '--gateway',
      gateway.url,
      '--simulated',
      '--seed',
      '4',
    );
    await until(() => {
      expect(ofType(replay, 'timeline')).toHaveLength(1);
    });
    replay.child.stdin.end();
    expect(await replay.exitCode).toBe(0);
    expect(replay.lines[0]).toEqual({ type: 'ready', source: 'simulated' });
  });

  it('says in a line what is wrong, without a stack, and exits with 2', async () => {
    const cases: [string[], RegExp][] = [
      [['--gateway', gateway.url, '--simulated'], /^--config: is needed\nSee --help\.$/],
      [['--config', config, '--gateway', gateway.url], /^give either --log PATH or --simulated\n/],
      [
        ['--config', config, '--gateway', gateway.url, '--log', 'none.parquet'],
        /^the log none\.parquet does not exist: .*$/,
      ],
      [['--config', config, '--gateway', gateway.url, '--simulated', '--sed', '1'], /^Unknown option '--sed'/],
      [['--config', config, '--gateway', gateway.url, '--simulated', '--seed', 'x'], /^--seed: expected a number\n/],
    ];
    for (const [args, message] of cases) {
      const failed = run(...args);
      expect(await failed.exitCode).toBe(2);
      expect(failed.errors.join('\n')).toMatch(message);
      expect(failed.errors.join('\n')).not.toMatch(/^ {4}at /m);
    }
  });
});
