import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino, { type Logger } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { KeyRing } from '../../serving/key-ring.ts';
import { formatSigningKeys, type KeptKey } from '../../serving/signing-keys.ts';

let folder: string;
let file: string;
let said: { level: number; msg: string }[];
let logger: Logger;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freshet-keys-'));
  file = join(folder, 'keys');
  said = [];
  logger = pino({ level: 'info' }, { write: (line: string) => said.push(JSON.parse(line) as (typeof said)[number]) });
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const key = (id: string): KeptKey => ({ id, secret: randomBytes(32), addedAt: null, replacedAt: null });
const write = (path: string, ...keys: KeptKey[]) => writeFile(path, formatSigningKeys(keys), { mode: 0o600 });
const ids = (ring: KeyRing): string[] => ring.keys.map(({ id }) => id);
const levels = (level: number): string[] => said.filter((line) => line.level === level).map(({ msg }) => msg);
const [INFO, WARN, ERROR] = [30, 40, 50];

test('a changed file is in force after two looks that found the same', async () => {
  const [k1, k2] = [key('k1'), key('k2')];
  await write(file, k1);
  const ring = await KeyRing.open({ file }, logger);
  await write(file, k1, k2);
  expect([await ring.look(), ids(ring)]).toEqual([false, ['k1']]);
  // It was being written: what was found first was not all of it.
  await write(file, k2, k1);
  expect([await ring.look(), ids(ring)]).toEqual([false, ['k1']]);
  expect([await ring.look(), ids(ring)]).toEqual([true, ['k2', 'k1']]);
  expect([await ring.look(), ring.problem]).toEqual([false, null]);
  expect(levels(INFO)).toEqual(['the signing keys changed']);
  expect(said.filter(({ level }) => level > INFO)).toEqual([]);
});

test('where Kubernetes swaps the link to its folder, the new file is found', async () => {
  const [k1, k2] = [key('k1'), key('k2')];
  const version = async (name: string, ...keys: KeptKey[]): Promise<void> => {
    await mkdir(join(folder, name));
    await write(join(folder, name, 'token-keys'), ...keys);
    await symlink(name, join(folder, '..data_tmp'));
    await rename(join(folder, '..data_tmp'), join(folder, '..data'));
  };
  await version('..2026_1', k1);
  await symlink(join('..data', 'token-keys'), join(folder, 'token-keys'));
  const ring = await KeyRing.open({ file: join(folder, 'token-keys') }, logger);
  await version('..2026_2', k1, k2);
  await rm(join(folder, '..2026_1'), { recursive: true });
  await ring.look();
  expect(await ring.look()).toBe(true);
  expect(ids(ring)).toEqual(['k1', 'k2']);
});

const k1 = key('k1');
test.each([
  ['gone', () => rm(file), /there is no such file/],
  ['empty', () => writeFile(file, ''), /no key to sign rank answers with/],
  ['cut off', () => writeFile(file, formatSigningKeys([k1]).slice(0, -40)), /signing key "k1" has \d+ bytes/],
  ['something else', () => writeFile(file, '{"keys":[]}'), /not written id:base64secret/],
  ['much too long', () => writeFile(file, 'x'.repeat(100_000)), /100000 bytes: expected a few lines/],
  ['a folder', () => rm(file).then(() => mkdir(file)), /not a file/],
])(
  'a file that is %s changes nothing, is said once, and is over when it is put right',
  async (_how, spoil, message) => {
    await write(file, k1);
    const ring = await KeyRing.open({ file }, logger);
    await spoil();
    for (let looks = 0; looks < 4; looks += 1) expect(await ring.look()).toBe(false);
    expect(ring.keys.map(({ secret }) => secret)).toEqual([k1.secret]);
    expect(ring.problem).toMatch(message);
    expect(ring.problem).toContain(file);
    expect(levels(ERROR)).toEqual([expect.stringMatching(/The keys read before stay in force/) as string]);

    await rm(file, { recursive: true, force: true });
    await write(file, k1);
    await ring.look();
    expect(await ring.look()).toBe(false);
    expect(ring.problem).toBeNull();
    expect(JSON.stringify(said)).not.toContain(k1.secret.toString('base64').slice(0, 20));
  },
);

test('there is no start on a file that is missing, broken or a pipe', async () => {
  await expect(KeyRing.open({ file }, logger)).rejects.toThrow(/no such file.*freshet keys create/);
  await writeFile(file, 'k1:short');
  await expect(KeyRing.open({ file }, logger)).rejects.toThrow(/FRESHET_TOKEN_KEYS_FILE.*expected at least 32/);
  execFileSync('mkfifo', [join(folder, 'pipe')]);
  await expect(KeyRing.open({ file: join(folder, 'pipe') }, logger)).rejects.toThrow(/not a file/);
  await expect(KeyRing.open([], logger)).rejects.toThrow(/no key to sign/);
});

test('a file that others may use is warned of, once', async () => {
  await write(file, key('k1'));
  await chmod(file, 0o644);
  const ring = await KeyRing.open({ file }, logger);
  await ring.look();
  expect(levels(WARN)).toEqual([expect.stringContaining('chmod 600') as string]);
});

test('that the signing key went without its two steps is warned of', async () => {
  await write(file, key('k1'));
  const ring = await KeyRing.open({ file }, logger);
  // The same id with another secret is another key.
  await write(file, key('k1'));
  await ring.look();
  expect(await ring.look()).toBe(true);
  expect(levels(WARN)).toEqual([expect.stringContaining('no longer accepted') as string]);
});
