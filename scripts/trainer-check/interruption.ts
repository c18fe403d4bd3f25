import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { TrainerLine } from '../../activities/trainer-process.ts';
import type { BenchRun, RunInput, TrainerBench } from './bench.ts';
import { fail, pass, warn, type CheckFinding } from './finding.ts';
import { endedWell } from './outputs.ts';

/** Ended here: late enough that a training from the start is told from one that went on. */
const ENDED_AT_PROGRESS = 3;
const FIRST_EPOCHS = 200;
const TRIES = 8;
/** Small: a training that is ended at once when alone takes minutes on a busy machine. */
const MORE_EPOCHS = 2;
const STOPPED = 143;

type Progress = Extract<TrainerLine, { type: 'progress' }>;

export interface InterruptionFindings {
  findings: CheckFinding[];
  /** SHA-256 of the models of runs that were ended at different places and went on. */
  models: string[];
}

/** SIGTERM and SIGKILL in the middle of a training, each followed by another try in the same folders. */
export async function checkInterruption(bench: TrainerBench): Promise<InterruptionFindings> {
  const stopped = await stopInTheMiddle(bench);
  if (!stopped.interrupted) {
    const { run } = stopped;
    if (run.code !== 0)
      return { findings: [fail('sigterm', `a training of more epochs ${bench.describe(run)}`)], models: [] };
    const tooQuick = `it was done before its ${String(ENDED_AT_PROGRESS)}rd progress line, even with ${String(stopped.epochs)} epochs: not checked. Print progress every second or so`;
    return { findings: [warn('sigterm', tooQuick), warn('sigkill', tooQuick)], models: [] };
  }
  const sigterm = await checkTermination(bench, stopped.run);
  const [resumed, sigkill] = await Promise.all([
    checkAgain(bench, { name: stopped.name, check: 'sigterm.resume', input: stopped.input, before: stopped.run }),
    checkKill(bench, stopped.input),
  ]);
  const models = await Promise.all([stopped.name, 'killed'].map((name) => hashOf(bench.outputOf(name, 'model.onnx'))));
  return {
    findings: [sigterm, resumed, sigkill],
    models: models.filter((hash) => hash !== null),
  };
}

interface Stopped {
  name: string;
  input: RunInput;
  epochs: number;
  run: BenchRun;
  interrupted: boolean;
}

/** Trains for more and more epochs, until a training is slow enough to be ended in the middle. */
async function stopInTheMiddle(bench: TrainerBench): Promise<Stopped> {
  for (let epochs = FIRST_EPOCHS, attempt = 1; ; epochs *= MORE_EPOCHS, attempt += 1) {
    const name = `stopped-${String(epochs)}-epochs`;
    const input: RunInput = { hyperparameters: { epochs, tune: false }, more: { checkpointEverySeconds: 0.25 } };
    let heard = 0;
    let interrupted = false;
    const run = await bench.run(name, input, (line, { terminate }) => {
      if (line.type === 'progress' && (heard += 1) === ENDED_AT_PROGRESS && !isLast(line)) {
        interrupted = true;
        terminate();
      }
    });
    // Done at that very moment: that says nothing.
    interrupted &&= !(run.code === 0 && (run.leftAfterMs ?? Infinity) < bench.graceMs / 2 && attempt < TRIES);
    if (interrupted || run.code !== 0 || attempt === TRIES) return { name, input, epochs, run, interrupted };
  }
}

const isLast = ({ epoch, epochs, step, steps }: Progress): boolean => epoch >= epochs && step >= steps;

async function checkTermination(bench: TrainerBench, run: BenchRun): Promise<CheckFinding> {
  const expected = 'SIGTERM means: save a checkpoint to workDir and exit with 143, within ten seconds';
  if (run.killed)
    return fail('sigterm', `it was still there after ${String(bench.graceMs / 1_000)} s and was killed; ${expected}`);
  if (run.code !== STOPPED) return fail('sigterm', `it ${bench.describe(run)}; ${expected}`);
  const files = await filesOf(run.workDir);
  if (files.length === 0) return fail('sigterm', `it left nothing in workDir; ${expected}`);
  const took = `${((run.leftAfterMs ?? 0) / 1_000).toFixed(1)} s`;
  if (run.lines.findLast(({ type }) => type === 'checkpoint') === undefined)
    return warn('sigterm', `left after ${took}, but printed no checkpoint line: operators do not see where it stands`);
  return pass('sigterm', `exit code 143 after ${took}, ${files.join(', ')} in workDir`);
}

async function filesOf(folder: string): Promise<string[]> {
  const names = await readdir(folder);
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size));
  return names.filter((_, index) => (sizes[index] ?? 0) > 0);
}

async function checkKill(bench: TrainerBench, input: RunInput): Promise<CheckFinding> {
  const check = 'sigkill.resume';
  const killed = await bench.run('killed', input, killAfterCheckpoint());
  if (killed.code === null) return checkAgain(bench, { name: 'killed', check, input, before: killed });
  if (killed.code !== 0) return fail(check, `it ${bench.describe(killed)}`);
  return warn(
    check,
    'not checked: it printed no checkpoint line between its first progress line and its end, with checkpointEverySeconds at 0.25; a machine that goes away loses all its work',
  );
}

function killAfterCheckpoint(): (line: TrainerLine, trainer: { kill: () => void }) => void {
  let progress = false;
  return (line, { kill }) => {
    if (line.type === 'progress') progress = true;
    if (line.type === 'checkpoint' && progress) kill();
  };
}

/** The same manifest again: has to finish, and not from the start. */
async function checkAgain(
  bench: TrainerBench,
  { name, check, input, before }: { name: string; check: string; input: RunInput; before: BenchRun },
): Promise<CheckFinding> {
  const again = await bench.run(name, input);
  const problem = await endedWell(bench, again);
  if (problem !== null)
    return fail(check, `the same manifest again: it ${problem}; a checkpoint in workDir means: go on from it`);
  const saved = before.lines.findLastIndex(({ type }) => type === 'checkpoint');
  const reached = before.lines.slice(0, saved < 0 ? undefined : saved).findLast((line) => line.type === 'progress');
  const first = again.lines.find((line) => line.type === 'progress');
  if (reached === undefined || first === undefined)
    return warn(check, 'finished, but without progress lines nobody can tell whether it went on or began again');
  const [from, to] = [placeOf(reached), placeOf(first)];
  return to < from
    ? fail(
        check,
        `began again: ${said(first)} came first although the checkpoint was saved after ${said(reached)}; go on from the checkpoint in workDir`,
      )
    : pass(check, `went on: first ${said(first)}, checkpoint saved after ${said(reached)}`);
}

const placeOf = ({ epoch, step, steps }: Progress): number => epoch - 1 + step / Math.max(1, steps);

const said = ({ epoch, epochs, step, steps }: Progress): string =>
  `epoch ${String(epoch)} of ${String(epochs)}, step ${String(step)} of ${String(steps)}`;

/** Null when there is no such file. */
export async function hashOf(path: string): Promise<string | null> {
  const bytes = await readFile(path).catch(() => null);
  return bytes === null ? null : createHash('sha256').update(bytes).digest('hex');
}
