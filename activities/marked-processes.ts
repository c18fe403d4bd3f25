import { randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';

const MARK = 'FRESHET_TRAINER_MARK';
/** A process that forks while it is looked for is found in the next round. */
const ROUNDS = 3;

export interface MarkedProcesses {
  /** To be given to the first process: all that it starts inherit it, whatever group or session they move to. */
  env: Record<string, string>;
  /** Kills (SIGKILL) all that carry the mark. Where there is no /proc nothing is found, and the group has to do. */
  kill(): Promise<void>;
}

/**
 * A mark in the environment by which a process's descendants are found after it is gone, also by another process that knows
 * the mark.
 */
export function markProcesses(mark: string = randomUUID()): MarkedProcesses {
  return {
    env: { [MARK]: mark },
    async kill() {
      for (let round = 0; round < ROUNDS; round += 1) {
        const found = await processesWith(`${MARK}=${mark}`);
        if (found.length === 0) return;
        for (const pid of found) {
          try {
            process.kill(pid, 'SIGKILL');
          } catch {
            // Gone meanwhile.
          }
        }
      }
    },
  };
}

async function processesWith(variable: string): Promise<number[]> {
  const entries = await readdir('/proc').catch(() => []);
  const pids = entries.filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => {
      const environment = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '');
      return environment.split('\0').includes(variable);
    }),
  );
  return pids.filter((_, index) => found[index]).map(Number);
}
