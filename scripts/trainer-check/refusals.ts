import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { RunInput, TrainerBench } from './bench.ts';
import { fail, pass, type CheckFinding } from './finding.ts';

const INPUT_AT_FAULT = 2;

/** Input that no retry makes better: exit code 2, and a last line of standard error that says why. */
export async function checkRefusals(bench: TrainerBench): Promise<CheckFinding[]> {
  const { empty, missingColumn, badLabel } = bench.snapshot;
  const brokenCheckpoint = join(dirname(empty), 'broken-checkpoint.pt');
  await writeFile(brokenCheckpoint, 'no checkpoint at all');
  const cases: [string, string, RunInput][] = [
    ['refuses.version', 'a contractVersion of the future', { more: { contractVersion: 1_000 } }],
    ['refuses.empty', 'a train part without rows', { snapshot: { train: [empty], replay: [] } }],
    [
      'refuses.column',
      `a train file without the column ${missingColumn.column}`,
      { snapshot: { train: [missingColumn.path] } },
    ],
    ['refuses.label', 'a label that is neither 0 nor 1', { snapshot: { train: [badLabel] } }],
    ['refuses.checkpoint', 'a checkpoint that is none', { strategy: 'warmStart', checkpoint: brokenCheckpoint }],
  ];
  const findings: CheckFinding[] = [];
  for (const [check, what, input] of cases) {
    const run = await bench.run(check, input);
    if (run.code !== INPUT_AT_FAULT) {
      findings.push(
        fail(check, `given ${what} it ${bench.describe(run)}; expected exit code 2, so that it is not tried again`),
      );
    } else if (run.lastError === null) {
      findings.push(
        fail(
          check,
          `given ${what} it exited with 2 and said nothing: the last line of standard error is the reason that operators see`,
        ),
      );
    } else {
      findings.push(pass(check, run.lastError));
    }
  }
  return findings;
}
