import { randomBytes } from 'node:crypto';
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { lineConfigSchema } from '../../config/schema.ts';
import { changeKeyFile, createKeyFile } from '../../scripts/keys/key-file.ts';
import { checkTokenKeys } from '../../scripts/keys/check-keys.ts';
import { dueStep, rotate, type RotationRequest } from '../../scripts/keys/rotation.ts';
import { ensureTokenKeys, newKey } from '../../scripts/stack/token-keys.ts';
import { formatSigningKeys, parseSigningKeys, type KeptKey } from '../../serving/signing-keys.ts';
import { applyLine } from '../../store/lines.ts';
import { createTestDatabase } from '../rig/database.ts';
import { runFreshet } from '../rig/freshet.ts';

const HOUR_MS = 3_600_000;
const NOW = Date.UTC(2026, 0, 31, 12);
const ago = (ms: number): Date => new Date(NOW - ms);

const signing = (id: string): KeptKey => ({
  id,
  secret: randomBytes(32),
  addedAt: ago(999 * HOUR_MS),
  replacedAt: null,
});
const added = (id: string, ms: number): KeptKey => ({ ...signing(id), addedAt: ago(ms) });
const replaced = (id: string, ms: number): KeptKey => ({ ...signing(id), replacedAt: ago(ms) });
const byHand = (id: string): KeptKey => ({ ...signing(id), addedAt: null });

describe('a step of a rotation', () => {
  const request: RotationRequest = {
    ...{ step: 'add', at: new Date(NOW), makeSecret: () => randomBytes(32) },
    ...{ tokenTtlMs: 48 * HOUR_MS, settleMs: 300_000, asked: false, force: false },
  };

  test.each<[string, KeptKey[], Partial<RotationRequest>, string[]]>([
    ['adds behind the one that signs', [signing('k1')], { step: 'add' }, ['k1', 'k2']],
    ['gives no id again', [signing('k7'), replaced('k6', 0)], { step: 'add' }, ['k7', 'k6', 'k8']],
    ['adds beside ids of other kinds', [signing('march')], { step: 'add' }, ['march', 'k1']],
    [
      'promotes what was added long enough ago',
      [signing('k1'), added('k2', 300_000)],
      { step: 'promote' },
      ['k2', 'k1'],
    ],
    [
      'promotes at once what every gateway has',
      [signing('k1'), added('k2', 0)],
      { step: 'promote', asked: true },
      ['k2', 'k1'],
    ],
    [
      'promotes at once when it is forced',
      [signing('k1'), byHand('k2')],
      { step: 'promote', force: true },
      ['k2', 'k1'],
    ],
    [
      'keeps an older key when it promotes',
      [signing('k2'), replaced('k1', 0), added('k3', HOUR_MS)],
      { step: 'promote' },
      ['k3', 'k2', 'k1'],
    ],
    [
      'retires when the last click has expired',
      [signing('k2'), replaced('k1', 48 * HOUR_MS + 300_000)],
      { step: 'retire' },
      ['k2'],
    ],
    [
      'retires only what has expired',
      [signing('k3'), replaced('k2', HOUR_MS), replaced('k1', 99 * HOUR_MS)],
      { step: 'retire' },
      ['k3', 'k2'],
    ],
    [
      'retires one that leaked',
      [signing('k2'), replaced('k1', 0), added('k3', 0)],
      { step: 'retire', force: true },
      ['k2', 'k3'],
    ],
    [
      'retires what was written by hand when it is forced',
      [signing('k2'), byHand('k1')],
      { step: 'retire', force: true },
      ['k2'],
    ],
  ])('%s', (_name, keys, change, expected) => {
    const after = rotate(keys, { ...request, ...change });
    expect(after.map(({ id }) => id)).toEqual(expected);
    for (const key of after.slice(1)) {
      if (key.id === keys[0]?.id && change.step === 'promote') expect(key.replacedAt).toEqual(new Date(NOW));
    }
    expect(after[0]?.replacedAt).toBeNull();
  });

  test.each<[string, KeptKey[], Partial<RotationRequest>, RegExp]>([
    [
      'adding a second one that does not sign',
      [signing('k1'), added('k2', 0)],
      { step: 'add' },
      /k2 was added and does not sign yet/,
    ],
    ['promoting none', [signing('k2'), replaced('k1', 0)], { step: 'promote' }, /no key to promote: add one/],
    [
      'promoting too early',
      [signing('k1'), added('k2', 299_999)],
      { step: 'promote' },
      /not before 2026-01-31T12:00:00.001Z: every gateway needs key k2/,
    ],
    [
      'promoting what came nobody knows when',
      [signing('k1'), byHand('k2')],
      { step: 'promote' },
      /is not known.*--gateway/,
    ],
    ['promoting one of two', [signing('k1'), byHand('k2'), byHand('k3')], { step: 'promote' }, /k2, k3 stand behind/],
    ['retiring the only one', [signing('k1')], { step: 'retire' }, /no key to retire/],
    [
      'retiring while clicks may come',
      [signing('k2'), replaced('k1', 48 * HOUR_MS)],
      { step: 'retire' },
      /not before 2026-01-31T12:05.*taken for 2d.*--force/,
    ],
    [
      'retiring what was only added',
      [signing('k1'), added('k2', 99 * HOUR_MS)],
      { step: 'retire' },
      /k2 has not signed/,
    ],
  ])('is refused: %s', (_name, keys, change, message) => {
    expect(() => rotate(keys, { ...request, ...change })).toThrow(message);
  });

  test.each<[KeptKey[], string]>([
    [[signing('k1')], 'add'],
    [[signing('k1'), added('k2', 0)], 'promote'],
    [[signing('k2'), replaced('k1', 0)], 'retire'],
    [[signing('k2'), replaced('k1', 0), added('k3', 0)], 'promote'],
  ])('the one that is due follows from the keys', (keys, expected) => {
    expect(dueStep(keys)).toBe(expected);
  });
});

describe('in a folder', () => {
  let folder: string;
  let file: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'freshet-keys-'));
    file = join(folder, 'token-keys');
    vi.stubEnv('FRESHET_DIR', folder);
    vi.stubEnv('FRESHET_TOKEN_KEYS', undefined);
    vi.stubEnv('FRESHET_TOKEN_KEYS_FILE', undefined);
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await rm(folder, { recursive: true });
  });

  const secrets = async (): Promise<string[]> =>
    parseSigningKeys(await readFile(file, 'utf8')).map(({ secret }) => secret.toString('base64'));
  const modeOf = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8);

  test('the command makes, shows and rotates keys step by step, and never prints a secret', async () => {
    const database = await createTestDatabase();
    vi.stubEnv('DATABASE_URL', database.url);
    try {
      const label = { tokenTtl: '72h' };
      const config = lineConfigSchema.parse({ line: 'a', features: [{ kind: 'numeric', name: 'x' }], label });
      await applyLine(database.db, { config, who: 'test' });
      const outcomes = [
        await runFreshet('keys', 'create'),
        await runFreshet('keys', 'create'),
        await runFreshet('keys', 'rotate'),
        await runFreshet('keys', 'rotate'),
        await runFreshet('keys', 'rotate', '--settle', '0s'),
        await runFreshet('keys', 'show'),
        await runFreshet('keys', 'rotate'),
        await runFreshet('keys', 'rotate', '--token-ttl', '0s', '--settle', '0s', '--json'),
      ];
      expect(outcomes.map(({ code, out, err }) => `${String(code)} ${code === 0 ? out : err}`)).toEqual([
        expect.stringMatching(
          /^0 .*give it to every gateway as FRESHET_TOKEN_KEYS_FILE\nk1 {2}signs {2}fingerprint [0-9a-f]{8}/,
        ),
        expect.stringMatching(/^1 .*exists: "freshet keys rotate" changes its keys/),
        expect.stringMatching(
          /^0 A key is added; nothing signs with it yet.*\nk1 {2}signs .*\nk2 {2}accepted, signs next/,
        ),
        expect.stringMatching(/^1 not before .*every gateway needs key k2/),
        expect.stringMatching(/^0 The new key signs.*\nk2 {2}signs .*\nk1 {2}accepted, signed before .*replaced/),
        expect.stringMatching(/--step retire$/),
        expect.stringMatching(/^1 not before .*clicks on what key k1 signed are taken for 3d/),
        expect.stringMatching(/^0 \{/),
      ]);
      expect(JSON.parse(outcomes.at(-1)?.out ?? '')).toMatchObject({
        keys: [{ id: 'k2', state: 'signs' }],
        next: 'add',
      });
      const said = JSON.stringify(outcomes);
      for (const secret of await secrets()) expect(said).not.toContain(secret.slice(0, 16));
      expect(await readdir(folder)).toEqual(['token-keys']);
    } finally {
      await database.drop();
    }
  });

  test('without a database to ask, how long clicks are taken has to be said', async () => {
    vi.stubEnv('DATABASE_URL', 'postgres://nobody@127.0.0.1:1/none');
    await writeFile(file, formatSigningKeys([signing('k2'), replaced('k1', 0)]));
    expect(await runFreshet('keys', 'rotate')).toMatchObject({
      code: 1,
      err: expect.stringMatching(/can not be read.*--token-ttl, such as 48h/) as string,
    });
  });

  test.each([
    ['missing', null, /there is no file .*freshet keys create --file/],
    ['broken', 'hunter2', /token-keys: a signing key is not written id:base64secret/],
  ])('a file that is %s is said', async (_how, text, message) => {
    if (text !== null) await writeFile(file, text);
    const { code, err } = await runFreshet('keys', 'show');
    expect(code).toBe(1);
    expect(err).toMatch(message);
    expect(err).not.toContain('hunter2');
  });

  test('a change leaves a file that only its owner may use, whole, also behind a link', async () => {
    await mkdir(join(folder, 'real'));
    const real = join(folder, 'real', 'keys');
    await writeFile(real, formatSigningKeys([signing('k1')]));
    await chmod(real, 0o644);
    await symlink(join('real', 'keys'), file);
    const before = (await lstat(real)).ino;
    await changeKeyFile(file, (keys) => [...keys, signing('k2')]);
    expect(await secrets()).toHaveLength(2);
    expect(await modeOf(real)).toBe('600');
    expect(await readlink(file)).toBe(join('real', 'keys'));
    expect((await lstat(real)).ino).not.toBe(before);
    expect(await readdir(join(folder, 'real'))).toEqual(['keys']);
  });

  test('a change that fails, or meets another one, leaves the file as it was', async () => {
    await createKeyFile(file, [newKey()]);
    const before = await readFile(file, 'utf8');
    await expect(changeKeyFile(file, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    const other = formatSigningKeys([signing('k9')]);
    const overtaken = changeKeyFile(file, async (keys) => {
      await writeFile(file, other);
      return [...keys, signing('k2')];
    });
    await expect(overtaken).rejects.toThrow(/changed by somebody else meanwhile/);
    expect(await readFile(file, 'utf8')).toBe(other);
    await writeFile(file, before);
    await writeFile(`${file}.new`, '');
    await expect(changeKeyFile(file, (keys) => [...keys, signing('k2')])).rejects.toThrow(
      /being changed just now.*remove/,
    );
    expect(await readFile(file, 'utf8')).toBe(before);
  });

  test('an installation makes its file once, and leaves it to the environment where that says', async () => {
    expect(await ensureTokenKeys(join(folder, 'data'), {})).toEqual({
      FRESHET_TOKEN_KEYS_FILE: join(folder, 'data', 'token-keys'),
    });
    const made = await readFile(join(folder, 'data', 'token-keys'), 'utf8');
    expect(await modeOf(join(folder, 'data', 'token-keys'))).toBe('600');
    await ensureTokenKeys(join(folder, 'data'), {});
    expect(await readFile(join(folder, 'data', 'token-keys'), 'utf8')).toBe(made);
    expect(await ensureTokenKeys(folder, { FRESHET_TOKEN_KEYS: 'k1:x' })).toEqual({});
    expect(await ensureTokenKeys(folder, { FRESHET_TOKEN_KEYS_FILE: '/run/keys' })).toEqual({});
    expect(await readdir(folder)).toEqual(['data']);
  });

  test('doctor says which key signs, what a rotation waits for, and who else may read the file', async () => {
    const env = { FRESHET_DIR: folder };
    expect(await checkTokenKeys(env)).toMatchObject({
      status: 'warn',
      message: expect.stringContaining('none yet') as string,
    });
    await createKeyFile(file, [newKey()]);
    expect(await checkTokenKeys(env)).toEqual({ status: 'ok', message: 'k1 signs, 1 accepted' });
    await changeKeyFile(file, (keys) => [...keys, signing('k2')]);
    expect((await checkTokenKeys(env)).message).toMatch(
      /k1 signs, 2 accepted; a rotation is under way.*--step promote/,
    );
    await chmod(file, 0o640);
    expect(await checkTokenKeys(env)).toMatchObject({
      status: 'warn',
      message: expect.stringContaining('chmod 600') as string,
    });
    await expect(checkTokenKeys({ FRESHET_TOKEN_KEYS: 'a', FRESHET_TOKEN_KEYS_FILE: 'b' })).rejects.toThrow('both set');
  });
});
