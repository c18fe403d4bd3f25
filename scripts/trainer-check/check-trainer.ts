import type { RunInput, BenchRun } from './bench.ts';
import { TrainerBench } from './bench.ts';
import { fail, pass, warn, type CheckFinding } from './finding.ts';
import { checkInterruption, hashOf } from './interruption.ts';
import { checkFiles, checkOutputs, endedWell } from './outputs.ts';
import { checkRefusals } from './refusals.ts';

/** What can be asked for alone; all of them when nothing is. */
export const CHECK_GROUPS = ['outputs', 'warm', 'refusals', 'interruption', 'determinism'] as const;
export type CheckGroup = (typeof CHECK_GROUPS)[number];

/** They look at what a first training in full left. */
const NEED_A_MODEL: CheckGroup[] = ['outputs', 'warm', 'determinism'];

export interface TrainerCheckOptions {
  command: readonly string[];
  /** Added to this process's environment. */
  env?: NodeJS.ProcessEnv;
  /** For snapshot, manifests and outputs; has to be empty. */
  folder: string;
  only?: readonly CheckGroup[];
  /** Whether models that differ by a byte are a failure. */
  deterministic?: boolean;
  /** Of one run; 2 minutes when left out. */
  timeoutMs?: number;
  /** Between SIGTERM and SIGKILL; the contract's 10 s when left out. */
  graceMs?: number;
  /** Told what is looked at now. */
  say?: (what: string) => void;
}

export interface TrainerReport {
  /** False when a check failed; warnings do not count. */
  ok: boolean;
  findings: CheckFinding[];
}

/** Fields that no version of the contract has: a trainer ignores what it does not know. */
const UNKNOWN_FIELDS: RunInput = {
  hyperparameters: { ofTheFuture: 1 },
  more: { ofTheFuture: { nested: [true] } },
};

/**
 * Runs a trainer through the trainer contract (docs/trainer-contract.md) on a tiny snapshot: about a dozen trainings of a
 * few thousand rows, two at a time.
 *
 * @throws Error when the snapshot can not be written; whatever the trainer does is a finding.
 */
export async function checkTrainer(options: TrainerCheckOptions): Promise<TrainerReport> {
  const {
    command,
    folder,
    only = CHECK_GROUPS,
    timeoutMs = 120_000,
    graceMs = 10_000,
    say = () => undefined,
  } = options;
  const bench = await TrainerBench.create({
    ...{ command, folder, timeoutMs, graceMs },
    ...(options.env === undefined ? {} : { env: options.env }),
  });
  const wanted = (group: CheckGroup): boolean => only.includes(group);
  const findings: CheckFinding[] = [];

  const base = NEED_A_MODEL.some(wanted) ? await trainInFull(bench, say) : null;
  findings.push(...(base?.findings ?? []));
  if (wanted('outputs') && base?.run.code === 0) findings.push(...(await checkOutputs(bench, base.name, base.run)));
  if (base === null || base.usable) {
    say('refusals, warm starts and the same training again');
    const [refusals, warm, models] = await Promise.all([
      wanted('refusals') ? checkRefusals(bench) : [],
      base !== null && wanted('warm') ? checkWarmStarts(bench, base) : [],
      base !== null && wanted('determinism') ? trainAgain(bench, base) : [],
    ]);
    findings.push(...warm, ...refusals);
    say('SIGTERM and SIGKILL');
    const interrupted = wanted('interruption') ? await checkInterruption(bench) : { findings: [], models: [] };
    findings.push(
      ...interrupted.findings,
      ...compareModels({ ...options, again: models, resumed: interrupted.models }),
    );
  } else {
    findings.push(warn('rest', 'not checked: a training in full has to end well first'));
  }
  findings.push(checkLeftBehind(bench));
  return { ok: findings.every(({ status }) => status !== 'fail'), findings };
}

interface Base {
  name: string;
  run: BenchRun;
  /** What the manifest says beside the defaults. */
  input: RunInput;
  findings: CheckFinding[];
  usable: boolean;
}

/** The first training has fields that the trainer can not know; a second one without them tells whether they are to blame. */
async function trainInFull(bench: TrainerBench, say: (what: string) => void): Promise<Base> {
  say('a training in full');
  const run = await bench.run('full', UNKNOWN_FIELDS);
  const base = { name: 'full', run, input: UNKNOWN_FIELDS };
  if (run.code === 0) return { ...base, ...(await promised(run, pass('unknown-fields', 'ignored'))) };
  const problem = bench.describe(run);
  if (run.startError === null && !run.timedOut) {
    const plain = await bench.run('full-plain');
    if (plain.code === 0) {
      const message = `fields that it does not know made it fail: it ${problem}; ignore them, so that it works with later versions of Freshet`;
      return { name: 'full-plain', run: plain, input: {}, ...(await promised(plain, fail('unknown-fields', message))) };
    }
  }
  return { ...base, findings: [fail('runs', `a training in full ${problem}; expected exit code 0`)], usable: false };
}

async function promised(run: BenchRun, unknownFields: CheckFinding): Promise<Pick<Base, 'findings' | 'usable'>> {
  const files = await checkFiles(run);
  return { findings: [pass('runs', 'exit code 0'), unknownFields, files], usable: files.status === 'pass' };
}

async function checkWarmStarts(bench: TrainerBench, base: Base): Promise<CheckFinding[]> {
  const findings: CheckFinding[] = [];
  const checkpoint = bench.outputOf(base.name, 'checkpoint.pt');
  for (const strategy of ['warmStart', 'incremental'] as const) {
    const run = await bench.run(strategy, { strategy, checkpoint });
    const problem = await endedWell(bench, run);
    findings.push(
      problem === null
        ? pass(strategy, 'from its own checkpoint')
        : fail(
            strategy,
            `from its own checkpoint it ${problem}; a trainer that does not know a strategy may treat it as warmStart`,
          ),
    );
  }
  return findings;
}

/** SHA-256 of the models of the first training and of the same one in another folder. */
async function trainAgain(bench: TrainerBench, base: Base): Promise<(string | null)[]> {
  await bench.run('full-again', base.input);
  return Promise.all([base.name, 'full-again'].map((name) => hashOf(bench.outputOf(name, 'model.onnx'))));
}

function compareModels(of: {
  deterministic?: boolean;
  again: readonly (string | null)[];
  resumed: readonly string[];
}): CheckFinding[] {
  const differs = of.deterministic === true ? fail : warn;
  const compare = (check: string, models: readonly (string | null)[], what: string): CheckFinding[] => {
    if (models.length < 2) return [];
    return models[0] !== null && models[0] === models[1]
      ? [pass(check, `${what}: the same model.onnx, byte for byte`)]
      : [
          differs(
            check,
            `${what}: model.onnx differs. Set all seeds, use the manifest's threads, and keep paths and times out of the file`,
          ),
        ];
  };
  return [
    ...compare('determinism', of.again, 'the same manifest in another folder'),
    ...compare('determinism.resumed', of.resumed, 'ended at two places and resumed'),
  ];
}

function checkLeftBehind(bench: TrainerBench): CheckFinding {
  const left = bench.runs.flatMap(({ leftBehind }) => leftBehind);
  return left.length === 0
    ? pass('processes', `none left behind by ${String(bench.runs.length)} runs`)
    : fail(
        'processes',
        `still there after the trainer had left: ${[...new Set(left)].slice(0, 3).join(', ')}; end what you start`,
      );
}
