import { mkdir, readFile, rm } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { z } from 'zod';
import { setUp } from './setup.ts';
import { isMain, projectRoot } from './stack/project.ts';
import { messageOf } from './stack/say.ts';

/** How many tests ended how. */
export interface TestCounts {
  passed: number;
  failed: number;
  skipped: number;
}

const vitestReport = z.object({
  numPassedTests: z.number(),
  numFailedTests: z.number(),
  numPendingTests: z.number(),
  numTodoTests: z.number(),
  testResults: z.array(z.object({ status: z.string(), assertionResults: z.array(z.unknown()) })),
});

/** Counts of a vitest JSON report; a file that failed before its first test counts as one failure. */
export function vitestCounts(report: unknown): TestCounts {
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = vitestReport.parse(report);
  const broken = testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
  );
  return { passed: numPassedTests, failed: numFailedTests + broken.length, skipped: numPendingTests + numTodoTests };
}

/** Counts of a pytest report in JUnit XML, of which only the totals of its suites are read. */
export function pytestCounts(xml: string): TestCounts {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const [suite] of xml.matchAll(/<testsuite\s[^>]*>/g)) {
    const total = (name: string): number => Number(new RegExp(`\\s${name}="(\\d+)"`).exec(suite)?.[1] ?? 0);
    const failed = total('failures') + total('errors');
    counts.failed += failed;
    counts.skipped += total('skipped');
    counts.passed += Math.max(0, total('tests') - failed - total('skipped'));
  }
  return counts;
}

/** The closing line of a run: `12 passed, 0 failed`, with `, 1 skipped` where something was skipped. */
export function closingLine({ passed, failed, skipped }: TestCounts): string {
  return `${String(passed)} passed, ${String(failed)} failed${skipped > 0 ? `, ${String(skipped)} skipped` : ''}`;
}

/** A run without a report died before it could write one: that is a failure too. */
async function counted(file: string, read: (text: string) => TestCounts): Promise<TestCounts> {
  try {
    return read(await readFile(file, 'utf8'));
  } catch (error) {
    console.error(`no readable test report at ${file}: ${messageOf(error)}`);
    return { passed: 0, failed: 1, skipped: 0 };
  }
}

async function run(command: string, args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: projectRoot(), env, stdio: 'inherit' });
    child.once('error', reject);
    child.once('close', (code) => {
      resolve(code ?? 1);
    });
  });
}

interface TestRun {
  code: number;
  counts: TestCounts;
}

async function runVitest(of: {
  name: string;
  args: string[];
  reports: string;
  env: NodeJS.ProcessEnv;
}): Promise<TestRun> {
  const report = join(of.reports, `${of.name}.json`);
  const vitest = join('node_modules', 'vitest', 'vitest.mjs');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const code = await run(process.execPath, [vitest, 'run', ...of.args, ...reporters], of.env);
  return { code, counts: await counted(report, (text) => vitestCounts(JSON.parse(text))) };
}

async function runPytest({
  python,
  reports,
  env,
}: {
  python: string;
  reports: string;
  env: NodeJS.ProcessEnv;
}): Promise<TestRun> {
  const report = join(reports, 'pytest.xml');
  const trainer = join(projectRoot(), 'trainer');
  const pytest = ['-m', 'pytest', '-q', '-p', 'no:cacheprovider', `--junitxml=${report}`, join(trainer, 'tests')];
  const code = await run(python, pytest, { ...env, PYTHONPATH: trainer, PYTHONDONTWRITEBYTECODE: '1' });
  return { code, counts: await counted(report, pytestCounts) };
}

/** `npm test [-- vitest arguments]`: all tests of both languages, or only the named ones of vitest's. */
async function main(): Promise<void> {
  const only = process.argv.slice(2);
  const tools = await setUp('test', console.log);
  const env = {
    ...process.env,
    FRESHET_PYTHON: tools.python,
    ...(tools.temporalCli === null ? {} : { FRESHET_TEMPORAL_CLI: tools.temporalCli }),
    ...(tools.timeSkippingServer === null ? {} : { FRESHET_TIME_SKIPPING_SERVER: tools.timeSkippingServer }),
  };
  const reports = join(projectRoot(), '.freshet', 'test-reports');
  await rm(reports, { recursive: true, force: true });
  await mkdir(reports, { recursive: true });
  const runs = [await runVitest({ name: 'tests', args: only, reports, env })];
  if (only.length === 0) {
    runs.push(await runPytest({ python: tools.python, reports, env }));
    runs.push(await runVitest({ name: 'story', args: ['--config', 'vitest.story.config.ts'], reports, env }));
  }
  const sum = (name: keyof TestCounts): number => runs.reduce((total, { counts }) => total + counts[name], 0);
  console.log(closingLine({ passed: sum('passed'), failed: sum('failed'), skipped: sum('skipped') }));
  process.exitCode = runs.every(({ code }) => code === 0) && sum('failed') === 0 ? 0 : 1;
}

if (isMain(import.meta.url)) {
  process.on('SIGINT', () => undefined);
  await main().catch((error: unknown) => {
    console.error(messageOf(error));
    process.exitCode = 1;
  });
}
