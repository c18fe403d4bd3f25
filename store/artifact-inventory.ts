import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import type { Stats } from 'node:fs';
import { join } from 'node:path';

/** A file of the artifact store as it lies there. */
export interface StoredFile {
  /** The artifact's sha256; of a file whose writer died in the middle `incoming/NAME`. */
  name: string;
  bytes: number;
  /** When it was put there last: putting an artifact again renews it. */
  modifiedAt: Date;
}

/** What lies in an artifact store, for those who clean up. Readers have `ArtifactStore`. */
export interface ArtifactInventory {
  list(): AsyncIterable<StoredFile>;
  /**
   * Removes a file unless it was put there again after `before`. Whether it is gone; one that was not there is.
   * Somebody who reads it at the same time either gets all of it or learns that it is missing.
   */
  remove(name: string, before: Date): Promise<boolean>;
}

const INCOMING = 'incoming';

/** The inventory of `openLocalArtifacts(root)`. What others keep in folders beside the artifacts is not its business. */
export function openLocalInventory(root: string): ArtifactInventory {
  const locate = (name: string): string => {
    if (/^[0-9a-f]{64}$/.test(name)) return join(root, name.slice(0, 2), name);
    if (/^incoming\/[\w.-]+$/.test(name)) return join(root, name);
    throw new Error(`"${name}" is no file of the artifact store`);
  };
  return {
    async *list() {
      for (const folder of (await entriesOf(root)).filter((name) => /^[0-9a-f]{2}$/.test(name) || name === INCOMING)) {
        for (const entry of await entriesOf(join(root, folder))) {
          const name = folder === INCOMING ? `${INCOMING}/${entry}` : entry;
          const found = await statOf(join(root, folder, entry));
          if (found?.isFile()) yield { name, bytes: found.size, modifiedAt: found.mtime };
        }
      }
    },
    async remove(name, before) {
      const [path, aside] = [locate(name), join(root, INCOMING, randomUUID())];
      const seen = await statOf(path);
      if (seen?.isFile() !== true) return true;
      if (seen.mtime >= before) return false;
      await mkdir(join(root, INCOMING), { recursive: true });
      // Moved first, so that what is looked at is what goes: it may be put again at any time.
      try {
        await rename(path, aside);
      } catch (error) {
        if (isMissing(error)) return true;
        throw error;
      }
      const found = await statOf(aside);
      if (found !== null && found.mtime >= before) {
        await rename(aside, path);
        return false;
      }
      // What can not be deleted there is nobody's any more, like what a writer that died left.
      await rm(aside, { force: true }).catch(() => undefined);
      return true;
    },
  };
}

async function entriesOf(folder: string): Promise<string[]> {
  return (await missingAs(readdir(folder), [])).sort();
}

function statOf(path: string): Promise<Stats | null> {
  return missingAs(stat(path), null);
}

async function missingAs<T, Otherwise>(work: Promise<T>, otherwise: Otherwise): Promise<T | Otherwise> {
  try {
    return await work;
  } catch (error) {
    if (isMissing(error)) return otherwise;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}
