import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { referenceTrainer } from '../stack/reference-trainer.ts';
import { CHECK_GROUPS, checkTrainer, type CheckGroup, type TrainerReport } from '../trainer-check/check-trainer.ts';
import { runs, table } from './run-command.ts';

interface CheckOptions {
  only?: CheckGroup[];
  deterministic?: boolean;
  timeout: number;
  keep?: boolean;
}

/** `trainer check [-- COMMAND...]`. */
export function registerTrainerCommands(program: Command): void {
  const trainer = program.command('trainer').description('programs that train behind the trainer contract');

  runs(
    trainer
      .command('check')
      .description('run a trainer through the contract on a tiny snapshot (docs/trainer-contract.md)')
      .argument('[command...]', 'the program and its arguments, after `--`; the reference trainer when left out')
      .addOption(new Option('--only <groups...>', 'only these checks').choices(CHECK_GROUPS))
      .option('--deterministic', 'the same manifest has to give the same bytes, not only should')
      .option('--timeout <seconds>', 'limit of one run', seconds, 120)
      .option('--keep', 'keep the folder with snapshot, manifests and outputs'),
    {
      example: 'trainer check -- python my_trainer.py',
      work: async (_access, given: string[], { timeout, keep = false, ...options }: CheckOptions) => {
        const reference = given.length === 0 ? await referenceTrainer() : null;
        const command = reference?.command ?? given;
        const folder = await mkdtemp(join(tmpdir(), 'freshet-trainer-check-'));
        try {
          const report = await checkTrainer({
            ...(reference === null ? {} : { env: reference.env }),
            ...{ ...options, command, folder, timeoutMs: timeout * 1_000 },
            say: (what) => {
              if (process.stderr.isTTY) console.error(`${what} ...`);
            },
          });
          const kept = keep ? { folder } : {};
          const text = [describe(report), ...(keep ? [`kept: ${folder}`] : [])].join('\n');
          return { data: { ...report, command, ...kept }, text, ok: report.ok };
        } finally {
          if (!keep) await rm(folder, { recursive: true, force: true });
        }
      },
    },
  );
}

function describe({ ok, findings }: TrainerReport): string {
  const count = (status: string): string => String(findings.filter((found) => found.status === status).length);
  const rows = findings.map(({ status, check, message }) => [status.toUpperCase(), check, message]);
  const verdict = ok ? 'keeps the trainer contract' : 'does not keep the trainer contract';
  return `${table(rows)}\n\n${verdict}: ${count('pass')} passed, ${count('warn')} warnings, ${count('fail')} failed`;
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('expected a number of seconds above 0');
  return value;
}
