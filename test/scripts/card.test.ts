import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { readCard } from '../../activities/version-card.ts';
import { recordDecision } from '../../store/decisions.ts';
import { taintSnapshot } from '../../store/taints.ts';
import type { CycleResult } from '../../workflows/messages.ts';
import { runFreshet } from '../rig/freshet.ts';
import { createInstallation, type TestInstallation } from '../rig/installation.ts';

let freshet: TestInstallation;
let folder: string;
let rejected: CycleResult;

beforeAll(async () => {
  freshet = await createInstallation();
  folder = await mkdtemp(join(tmpdir(), 'freshet-card-'));
  expect(await freshet.coldStart()).toMatchObject({ outcome: 'promoted', version: 1 });
  rejected = await freshet.runCycle({ gate: { thresholds: [{ metric: 'auc', min: 0.99 }] } });
  expect(rejected).toMatchObject({ outcome: 'rejected', version: 2 });
});

afterAll(async () => {
  await freshet.close();
  await rm(folder, { recursive: true, force: true });
});

beforeEach(() => {
  vi.stubEnv('DATABASE_URL', freshet.env.DATABASE_URL);
  vi.stubEnv('FRESHET_ARTIFACTS', freshet.env.FRESHET_ARTIFACTS);
});

afterEach(() => {
  vi.unstubAllEnvs();
});

function served(path: string): Promise<Response> {
  return fetch(`http://127.0.0.1:${String(freshet.env.FRESHET_REPORTS_PORT)}${path}`);
}

test('the card of a real cycle has its evaluation, its verdict rule by rule, its data and its route', async () => {
  const { db, line } = freshet;
  const [first, second] = [await readCard(db, { line, version: 1 }), await readCard(db, { line, version: 2 })];
  expect(first).toMatchObject({
    metrics: { evaluation: { kind: 'measured', evaluation: { champion: null } }, gate: { kind: 'pass' } },
    data: { kind: 'known', report: { verdict: 'pass' } },
    ancestors: [],
    takenOff: null,
  });
  expect(first.metrics.gate?.rules.length).toBeGreaterThan(0);
  expect(first.routes.at(-1)).toMatchObject({ role: 'stable', toAt: null });
  expect(first.statuses.at(-1)).toMatchObject({ to: 'stable' });
  expect(second).toMatchObject({
    metrics: { evaluation: { kind: 'measured', evaluation: { champion: 1 } }, gate: { kind: 'reject' } },
    cycle: { outcome: 'rejected' },
    ancestors: [{ version: 1 }],
    routes: [],
  });
});

test('the command prints Markdown, by number or by name', async () => {
  const { line } = freshet;
  const printed = await runFreshet('card', line, 'stable');
  expect(printed.code).toBe(0);
  expect(printed.out).toContain(`# ${line}, version 1 (stable)`);
  expect(printed.out).toContain('**Serves.**');
  expect(printed.out).toContain(`freshet reproduce ${line} 1`);
  const html = await runFreshet('card', line, '2', '--format', 'html');
  expect(html.out).toMatch(/^<!doctype html>/);
  expect(html.out).toContain('The gate rejected it.');
  const json = JSON.parse((await runFreshet('card', line, '2', '--json')).out) as unknown;
  expect(json).toMatchObject({ version: { version: 2, status: 'rejected' }, metrics: { gate: { kind: 'reject' } } });
});

test('the command writes a folder, a page, or Markdown with its plots beside it', async () => {
  const { line } = freshet;
  const all = await runFreshet('card', line, '2', '--out', join(folder, 'all'));
  expect(all.code).toBe(0);
  const names = await readdir(join(folder, 'all'));
  expect(names).toEqual(expect.arrayContaining(['card.html', 'card.md', 'metrics.svg', 'gain.svg', 'data-window.svg']));
  const plots = [...(await readFile(join(folder, 'all', 'card.md'), 'utf8')).matchAll(/\]\(([a-z-]+\.svg)\)/g)];
  expect(plots.map(([, name]) => name).sort()).toEqual(names.filter((name) => name.endsWith('.svg')).sort());

  await runFreshet('card', line, '1', '--out', join(folder, 'one', 'page.html'));
  expect(await readdir(join(folder, 'one'))).toEqual(['page.html']);
  await runFreshet('card', line, '1', '--out', join(folder, 'text', 'v1.md'));
  expect(await readFile(join(folder, 'text', 'v1.md'), 'utf8')).toContain('](v1-metrics.svg)');
  expect(await readdir(join(folder, 'text'))).toContain('v1-metrics.svg');
});

test.each([
  [['nowhere', '1'], 'no model line "nowhere"'],
  [['LINE', '99'], 'has no version 99'],
  [['LINE', 'canary'], 'has no canary now'],
  [['LINE', '1', '--out', 'card.pdf'], 'a .html or a .md file'],
  [['LINE', '1', '--out', 'card.md', '--format', 'html'], 'leave --format out'],
  [['LINE', '1', '--out', '/dev/null/card'], 'can not be a folder'],
])('freshet card %j is refused with one message and code 1', async (args, message) => {
  const { code, err } = await runFreshet('card', ...args.map((arg) => (arg === 'LINE' ? freshet.line : arg)));
  expect(code).toBe(1);
  expect(err).toContain(message);
  expect(err).not.toMatch(/\n\s+at /);
});

test('the details of a cycle link to the card of its version', async () => {
  const workflowId = rejected.cycleId.split('/')[0] ?? '';
  const metadata = await freshet.client.workflow.getHandle(workflowId).query('__temporal_workflow_metadata');
  const { currentDetails } = metadata as { currentDetails: string };
  const link = /\[Model card\]\((.+)\)/.exec(currentDetails)?.[1] ?? '';
  expect(await (await fetch(link)).text()).toContain(`${freshet.line}, version 2`);
});

test('the data worker serves cards and their list, and data reports and cards link to each other', async () => {
  const { line } = freshet;
  const page = await served(`/cards/${line}/stable`);
  expect(page.headers.get('content-type')).toContain('text/html');
  const text = await page.text();
  expect(text).toContain(`${line}, version 1`);

  const report = /href="\.\.\/\.\.(\/reports\/[0-9a-f]{64})"/.exec(text)?.[1] ?? '';
  const data = await (await served(report)).text();
  expect(data).toContain(`href="../cards/${line}/1"`);

  expect(text).toContain(`href="../${line}"`);
  const list = await (await served(`/cards/${line}`)).text();
  for (const part of [`href="${line}/2"`, 'reject', 'pass', `serves version 1`]) expect(list).toContain(part);
  // The fixture trainer's models are all the same one.
  expect(list).toContain('0 (0 to 0) in AUC');
});

test.each([
  ['/cards/nowhere', /no model line "nowhere"/],
  ['/cards/nowhere/1', /no model line "nowhere"|no version/],
  ['/cards/LINE/99', /has no version 99/],
  ['/cards/LINE/best', /has no version "best": .*aliases/],
])('%s is not found, in words', async (path, says) => {
  const answer = await served(path.replace('LINE', freshet.line));
  expect(answer.status).toBe(404);
  expect(await answer.text()).toMatch(says);
});

test('what happens later is on the card: a decision, a taint', async () => {
  const { db, line } = freshet;
  await recordDecision(db, { line, version: 1, kind: 'approved', who: 'ann', why: 'looked at it <b>' });
  const { lineage } = (await readCard(db, { line, version: 1 })).version;
  await taintSnapshot(db, { snapshotId: lineage.snapshotId ?? '', who: 'bob', reason: 'half loaded' });
  const text = await (await served(`/cards/${line}/2`)).text();
  expect(text).toContain('descends from version 1');
  const first = await (await served(`/cards/${line}/1`)).text();
  expect(first).toContain('Approved by ann');
  expect(first).toContain('Looked at it &lt;b&gt;');
  expect(first).toMatch(/This snapshot is tainted<\/strong>, since .* by bob: Half loaded\./);
});
