import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { runFreshet } from '../rig/freshet.ts';
import { RetentionStage } from '../store/retention-stage.ts';

interface Amount {
  files: number;
  bytes: number;
}

let stage: RetentionStage;

beforeAll(async () => {
  stage = await RetentionStage.create(Date.now());
  await stage.history('news', 6, { model: 'one model of two lines' });
  await stage.history('video', 1, { model: 'one model of two lines' });
  await stage.put('a file of nobody');
  // Routes are of now, so that the newest stables and what served a moment ago stay: let all of it be of last week.
  await stage.db.query('alter table routes disable trigger user');
  await stage.db.query(`update routes set at = at - interval '10 days'`);
  await stage.db.query(`update cycles set started_at = started_at - interval '10 days'`);
});
afterAll(() => stage.close());
beforeEach(() => {
  vi.stubEnv('DATABASE_URL', stage.url);
  vi.stubEnv('FRESHET_ARTIFACTS', stage.folder);
});
afterEach(() => {
  vi.unstubAllEnvs();
});

it('reports storage by line and kind, what is shared once', async () => {
  const { out, code } = await runFreshet('storage', '--json');
  expect(code).toBe(0);
  const report = JSON.parse(out) as {
    lines: { line: string; kinds: Record<string, Amount>; all: Amount; shared: Amount; goes: Amount }[];
    total: Amount;
    goes: Amount;
    orphans: Amount;
  };
  const [news, video] = report.lines;
  expect(news).toMatchObject({
    line: 'news',
    kinds: { models: { files: 6 }, snapshots: { files: 12 } },
    all: { files: 54 },
  });
  expect(news?.shared).toEqual({ files: 1, bytes: 'one model of two lines'.length });
  expect(video).toMatchObject({ line: 'video', all: { files: 9 }, goes: { files: 0 } });
  expect(report.total.files).toBe(54 + 9 - 1 + 1);
  expect(report.orphans).toEqual({ files: 1, bytes: 'a file of nobody'.length });
  expect(report.goes).toEqual(news?.goes);

  const text = (await runFreshet('storage', 'news')).out;
  expect(text).toMatch(
    /^line +models +checkpoints +snapshots +profiles +predictions +other +all +files +shared +retention frees\nnews/,
  );
  expect(text).not.toContain('video  ');
  expect((await runFreshet('storage', 'nothing')).err).toContain('no model line "nothing"');
});

it('plans without removing, with a reason for each file', async () => {
  const before = await stage.stored();
  const { out } = await runFreshet('retention', 'news', '--all');
  expect(out).toMatch(/goes +predictions of version 2 +nothing that stays needs it/);
  expect(out).toMatch(/kept +model of version 6 +model of version 6 \(news\): is routed/);
  expect(out).toMatch(/kept +model of version 1 and 1 more +model of version 1 \(video\): is routed/);
  expect(out).toMatch(/kept +checkpoint of version 3 .*version 4, trained from it, is one of the last 3 stables/);
  expect(out).toMatch(/\d+ files would go \(\d+ B\), \d+ stay; nothing was removed: freshet retention news --apply$/);
  expect(await stage.stored()).toEqual(before);
});

it('removes what goes, and orphans only when asked', async () => {
  const applied = await runFreshet('retention', 'news', '--apply');
  expect(applied.out).toMatch(/predictions of version 2/);
  const left = await stage.stored();
  expect(left).not.toContain('news 2 predictions');
  expect(left).toEqual(expect.arrayContaining(['news 4 predictions', 'video 1 model', 'a file of nobody']));
  expect((await runFreshet('storage', 'news')).out).toMatch(/removed so far +\d+ B in [1-9]\d* files of news/);
  const orphans = await runFreshet('retention', 'news', '--apply', '--orphans', '--json');
  expect(JSON.parse(orphans.out)).toMatchObject({ applied: true, removed: [{ verdict: 'orphan' }], bytes: 16 });
  expect(await stage.stored()).not.toContain('a file of nobody');
});
