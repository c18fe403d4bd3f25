import { createHash } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openLocalArtifacts, type ArtifactStore } from '../../store/artifacts.ts';

let folder: string;
let root: string;
let artifacts: ArtifactStore;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freshet-artifacts-'));
  root = join(folder, 'store');
  artifacts = openLocalArtifacts(root);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const content = Buffer.from('a model');
const sha256 = createHash('sha256').update(content).digest('hex');

async function damage(bytes: string): Promise<void> {
  const path = join(root, sha256.slice(0, 2), sha256);
  await chmod(path, 0o644);
  await writeFile(path, bytes);
}

it('gives back what was put in, by its sha256', async () => {
  expect(await artifacts.put(content)).toEqual({ sha256, bytes: 7 });
  expect(Buffer.from(await artifacts.get(sha256))).toEqual(content);
  expect(await readFile(await artifacts.path(sha256))).toEqual(content);
  expect((await stat(await artifacts.path(sha256))).mode & 0o222).toBe(0);
});

it('takes files, larger ones too, and an empty one', async () => {
  const large = Buffer.alloc(3_000_000, 'abc');
  await writeFile(join(folder, 'large'), large);
  await writeFile(join(folder, 'empty'), '');
  const artifact = await artifacts.putFile(join(folder, 'large'));
  expect(artifact).toEqual({ sha256: createHash('sha256').update(large).digest('hex'), bytes: 3_000_000 });
  expect(Buffer.compare(await artifacts.get(artifact.sha256), large)).toBe(0);
  const empty = await artifacts.putFile(join(folder, 'empty'));
  expect(await readFile(await artifacts.path(empty.sha256), 'utf8')).toBe('');
  await expect(artifacts.putFile(join(folder, 'none'))).rejects.toThrow(/ENOENT.*none/);
});

it('has a file measured by whom it is told, and believes neither a wrong hash nor a missing file', async () => {
  await artifacts.put(content);
  const measured: string[] = [];
  const path = await artifacts.path(sha256, (file) => {
    measured.push(file);
    return Promise.resolve({ sha256, bytes: 7 });
  });
  expect(measured).toEqual([path]);
  const other = Promise.resolve({ sha256: '0'.repeat(64), bytes: 7 });
  await expect(artifacts.path(sha256, () => other)).rejects.toMatchObject({ kind: 'damaged', sha256 });
  await rm(path);
  await expect(artifacts.path(sha256, () => other)).rejects.toMatchObject({ kind: 'missing', sha256 });
});

it('keeps one copy whoever puts it, and nothing half written', async () => {
  await Promise.all(Array.from({ length: 10 }, () => artifacts.put(content)));
  await expect(artifacts.putFile(join(folder, 'none'))).rejects.toThrow();
  expect(await readdir(join(root, sha256.slice(0, 2)))).toEqual([sha256]);
  expect(await readdir(join(root, 'incoming'))).toEqual([]);
});

it.each(['a modem', ''])('refuses a damaged artifact, and is mended by putting it again (%j)', async (bytes) => {
  await artifacts.put(content);
  await damage(bytes);
  const message = new RegExp(
    `artifact ${sha256} is damaged: its content has sha256 .* at .*store.* Restore the file from a backup, or train`,
  );
  await expect(artifacts.get(sha256)).rejects.toThrow(message);
  await expect(artifacts.path(sha256)).rejects.toMatchObject({ name: 'ArtifactError', kind: 'damaged', sha256 });
  await artifacts.put(content);
  expect(Buffer.from(await artifacts.get(sha256))).toEqual(content);
});

it('names a missing artifact and where it was expected', async () => {
  await expect(artifacts.get(sha256)).rejects.toThrow(
    new RegExp(`artifact ${sha256} is missing: expected .*${sha256}`),
  );
  await expect(artifacts.path(sha256)).rejects.toMatchObject({ name: 'ArtifactError', kind: 'missing', sha256 });
});

it('takes nothing but a sha256 for a name', async () => {
  await expect(artifacts.get('../../etc/passwd')).rejects.toThrow(/is not an artifact: expected a sha256/);
});
