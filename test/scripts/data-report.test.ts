import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { listSnapshots } from '../../store/snapshots.ts';
import { runFreshet } from '../rig/freshet.ts';
import { createInstallation, type TestInstallation } from '../rig/installation.ts';

let freshet: TestInstallation;

beforeAll(async () => {
  freshet = await createInstallation();
});

afterAll(async () => {
  await freshet.close();
});

beforeEach(() => {
  vi.stubEnv('DATABASE_URL', freshet.env.DATABASE_URL);
  vi.stubEnv('FRESHET_ARTIFACTS', freshet.env.FRESHET_ARTIFACTS);
});

afterEach(() => {
  vi.unstubAllEnvs();
});

/** What the Temporal UI shows beside a run. */
async function detailsOf(workflowId: string): Promise<string> {
  const metadata = await freshet.client.workflow.getHandle(workflowId).query('__temporal_workflow_metadata');
  return (metadata as { currentDetails: string }).currentDetails;
}

test('the details of a cycle link to the report on its data, which the data worker serves', async () => {
  await freshet.traffic.untilImpressions(400);
  const handle = await freshet.startCycle();
  await handle.result();
  const [snapshot] = await listSnapshots(freshet.db, { line: freshet.line, limit: 1 });

  const link = /\[Report on the data\]\((.+)\)/.exec(await detailsOf(handle.workflowId))?.[1] ?? '';
  expect(link.endsWith(`/reports/${String(snapshot?.snapshotId)}`)).toBe(true);
  const page = await fetch(link);
  expect(page.headers.get('content-type')).toContain('text/html');
  expect(await page.text()).toContain('PASSED');

  const base = link.slice(0, link.lastIndexOf('/'));
  for (const [id, says] of [
    ['0'.repeat(64), /no snapshot "0{64}" is recorded/],
    ['half', /expected the id of a snapshot/],
  ] as const) {
    const answer = await fetch(`${base}/${id}`);
    expect(answer.status).toBe(404);
    expect(await answer.text()).toMatch(says);
  }
});

test('the command writes the same page to a file, by the first digits of the id', async () => {
  const [snapshot] = await listSnapshots(freshet.db, { line: freshet.line, limit: 1 });
  const id = snapshot?.snapshotId ?? '';
  const folder = await mkdtemp(join(tmpdir(), 'freshet-report-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'deep', 'report.html');

  const listed = await runFreshet('data', 'snapshots', freshet.line);
  expect(listed.out).toMatch(new RegExp(`${id.slice(0, 12)} .* pass`));
  const written = await runFreshet('data', 'report', id.slice(0, 8), '--out', file);

  expect(written.out).toContain(file);
  expect(await readFile(file, 'utf8')).toContain(id);
  const unknown = await runFreshet('data', 'report', '00000000');
  expect(unknown).toMatchObject({ code: 1 });
  expect(unknown.err).toMatch(/no snapshot "00000000"/);
});
