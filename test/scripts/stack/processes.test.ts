import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Supervisor } from '../../../scripts/stack/processes.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'freshet-processes-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

test('a process and what it started are gone once stopped, and its output is in its log', async () => {
  const supervisor = new Supervisor(folder);
  const shell = await supervisor.start({
    name: 'shell',
    command: 'sh',
    args: ['-c', 'sleep 600 & echo "child $!"; wait'],
  });
  const child = await pidIn(() => shell.lastLines());
  await supervisor.stopAll();
  expect(isAlive(shell.pid)).toBe(false);
  await vi.waitFor(() => {
    expect(isAlive(child)).toBe(false);
  });
});

test('a process that ignores the request to leave is killed after its grace', async () => {
  const supervisor = new Supervisor(folder);
  const deaf = await supervisor.start({
    name: 'deaf',
    command: 'sh',
    args: ['-c', 'trap "" TERM; echo "child $$"; while :; do sleep 1; done'],
    graceMs: 100,
  });
  await pidIn(() => deaf.lastLines());
  await deaf.stop();
  expect(await deaf.exited).toEqual({ code: null, signal: 'SIGKILL' });
});

test('a program that does not exist is an error that names it', async () => {
  await expect(new Supervisor(folder).start({ name: 'ghost', command: '/nowhere/ghost', args: [] })).rejects.toThrow(
    /ghost could not be started/,
  );
});

test.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)(
  '%s to the supervising process leaves no process behind',
  async (signal) => {
    const { main, sleeper } = await superviseElsewhere();
    main.kill(signal);
    await once(main, 'exit');
    await vi.waitFor(
      () => {
        expect(isAlive(sleeper)).toBe(false);
      },
      { timeout: 10_000 },
    );
  },
);

test('Ctrl-C ends the supervising process with the code that shells expect', async () => {
  const { main } = await superviseElsewhere();
  main.kill('SIGINT');
  // npm passes it on a second time.
  main.kill('SIGINT');
  expect(await once(main, 'exit')).toEqual([130, null]);
});

async function superviseElsewhere(): Promise<{ main: ReturnType<typeof spawn>; sleeper: number }> {
  const module = new URL('../../../scripts/stack/processes.ts', import.meta.url).href;
  const script = `
    const { Supervisor, stopOnSignals } = await import(${JSON.stringify(module)});
    const supervisor = new Supervisor(${JSON.stringify(folder)});
    stopOnSignals(() => supervisor.stopAll());
    await supervisor.start({ name: 'sleeper', command: 'sh', args: ['-c', 'echo "child $$"; exec sleep 600'] });
    setInterval(() => undefined, 1000);
  `;
  const main = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], { stdio: 'inherit' });
  return { main, sleeper: await pidIn(() => readFileSync(join(folder, 'sleeper.log'), 'utf8')) };
}

async function pidIn(read: () => string): Promise<number> {
  return vi.waitFor(
    () => {
      const pid = Number(/child (\d+)/.exec(read())?.[1]);
      expect(pid).toBeGreaterThan(1);
      return pid;
    },
    { timeout: 20_000 },
  );
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  // A zombie whose new parent has not looked yet is dead all the same.
  const status = readStatus(pid);
  return !/^State:\s+Z/m.test(status);
}

function readStatus(pid: number): string {
  try {
    return readFileSync(`/proc/${String(pid)}/status`, 'utf8');
  } catch {
    return '';
  }
}
