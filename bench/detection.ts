import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { type Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { detectionFigures, type DetectionFigures } from './detection/figures.ts';
import { measureCells } from './detection/cells.ts';
import { detectionDocument, detectionTable } from './detection/table.ts';
import type { BenchmarkResult } from './run.ts';

export const description = 'how soon a worse canary is found, and how often one that is not is rolled back';

const given = z.object({ quick: z.boolean().default(false), threads: z.number(), doc: z.string().optional() });

export function options(command: Command): void {
  command
    .option('--quick', 'a tenth of the windows')
    .option('--threads <n>', 'threads that simulate', wholeNumber, availableParallelism())
    .option('--doc <file>', 'write the table there too, as docs/detection.md has it');
}

export async function run(input: Record<string, unknown>): Promise<BenchmarkResult> {
  const { quick, threads, doc } = given.parse(input);
  const started = performance.now();
  const cells = await measureCells({
    quick,
    threads,
    say: (line) => {
      console.error(line);
    },
  });
  const figures: DetectionFigures & { seconds: number } = {
    ...detectionFigures(cells),
    seconds: Math.round((performance.now() - started) / 1_000),
  };
  if (doc !== undefined) await writeFile(doc, detectionDocument(figures, { quick }));
  return { figures: { ...figures }, table: detectionTable(figures) };
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new InvalidArgumentError('expected a whole number of at least 1.');
}
