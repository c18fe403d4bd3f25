import { link, mkdir, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { formatSigningKeys, parseSigningKeys, type KeptKey } from '../../serving/signing-keys.ts';

const OWNER_ONLY = 0o600;

/** @throws Error that names the file and says what to do when it is missing or broken. */
export async function readKeyFile(file: string): Promise<KeptKey[]> {
  return parse(file, await readText(file));
}

/**
 * Makes a file of keys that only its owner may read, whole or not at all.
 *
 * @returns false when there is one already; it is left as it is.
 */
export async function createKeyFile(file: string, keys: readonly KeptKey[]): Promise<boolean> {
  await mkdir(dirname(file), { recursive: true });
  return withNewFile(file, { text: formatSigningKeys(keys), owner: null }, async (written) => {
    try {
      await link(written, file);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    }
  });
}

/**
 * Replaces the keys of a file at once: who reads it finds the old ones or the new ones. It keeps its owner and is readable
 * by nobody else; behind a symbolic link the file is replaced, not the link. Two changes at a time are refused.
 *
 * @param change the keys that shall be in the file; what it throws leaves the file as it is.
 */
export async function changeKeyFile(
  file: string,
  change: (keys: readonly KeptKey[]) => KeptKey[] | Promise<KeptKey[]>,
): Promise<KeptKey[]> {
  const before = await readText(file);
  const keys = await change(parse(file, before));
  const target = await realpath(file);
  const owner = await stat(target);
  await withNewFile(target, { text: formatSigningKeys(keys), owner }, async (written) => {
    if ((await readText(file)) !== before)
      throw new Error(`${file} was changed by somebody else meanwhile: look at it and try again`);
    await rename(written, target);
  });
  return keys;
}

/** Writes beside `file`, under a name that only one can have, and removes what is left of it. */
async function withNewFile<T>(
  file: string,
  content: { text: string; owner: { uid: number; gid: number } | null },
  use: (written: string) => Promise<T>,
): Promise<T> {
  const written = `${file}.new`;
  const handle = await open(written, 'wx', OWNER_ONLY).catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST')
      throw new Error(`${file} is being changed just now, or a change was broken off: then remove ${written}`);
    throw new Error(`${file} can not be changed here (${String(code)}): change the copy that it was made from`);
  });
  try {
    try {
      await handle.writeFile(content.text);
      // Whatever the umask.
      await handle.chmod(OWNER_ONLY);
      await keepOwner(handle, { file, owner: content.owner });
      await handle.sync();
    } finally {
      await handle.close();
    }
    return await use(written);
  } finally {
    await rm(written, { force: true });
  }
}

async function keepOwner(
  handle: Awaited<ReturnType<typeof open>>,
  { file, owner }: { file: string; owner: { uid: number; gid: number } | null },
): Promise<void> {
  const mine = await handle.stat();
  if (owner === null || (mine.uid === owner.uid && mine.gid === owner.gid)) return;
  await handle.chown(owner.uid, owner.gid).catch(() => {
    if (mine.uid === owner.uid) return;
    throw new Error(`${file} belongs to another user, who could not read it any more: change it as that user`);
  });
}

function parse(file: string, text: string): KeptKey[] {
  try {
    return parseSigningKeys(text);
  } catch (error) {
    throw new Error(`${file}: ${(error as Error).message}`, { cause: error });
  }
}

async function readText(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT')
      throw new Error(`there is no file ${file}: make one with "freshet keys create --file ${file}"`);
    throw new Error(`${file} can not be read (${String(code)}): expected a file of signing keys`);
  });
}
