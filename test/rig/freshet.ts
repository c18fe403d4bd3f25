import { vi } from 'vitest';
import { freshetProgram } from '../../scripts/commands/program.ts';

export interface CommandOutcome {
  code: number;
  out: string;
  err: string;
}

/** Runs the `freshet` command in this process, one at a time; usage errors, which end a real process, throw. */
export async function runFreshet(...args: string[]): Promise<CommandOutcome> {
  const out: string[] = [];
  const err: string[] = [];
  const log = vi.spyOn(console, 'log').mockImplementation((text: string) => void out.push(text));
  const error = vi.spyOn(console, 'error').mockImplementation((text: string) => void err.push(text));
  const before = process.exitCode;
  try {
    await freshetProgram()
      .exitOverride()
      .parseAsync(['node', 'freshet', ...args]);
    return { code: Number(process.exitCode ?? 0), out: out.join('\n'), err: err.join('\n') };
  } finally {
    process.exitCode = before;
    log.mockRestore();
    error.mockRestore();
  }
}
