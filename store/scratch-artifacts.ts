import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { openLocalArtifacts, type ArtifactStore } from './artifacts.ts';

/** What one owner keeps for a while, by content. */
export interface ScratchFolder extends Pick<ArtifactStore, 'putFile' | 'path'> {
  /** Forgets an artifact; one that is not there is fine. */
  delete(sha256: string): Promise<void>;
}

/**
 * Artifacts that are of use only while their owner is at work: the checkpoints of a training. They can be deleted, and
 * since they have a place of their own, nothing here is ever the artifact that a version or a snapshot names, even where
 * the bytes are the same.
 */
export interface ScratchArtifacts {
  of(owner: string): ScratchFolder;
  owners(): Promise<string[]>;
  /** Forgets all of an owner; an owner that is not there is fine. */
  delete(owner: string): Promise<void>;
}

/** Scratch artifacts in a local (or mounted) folder: `<root>/<owner>/ab/abcdef...`. Any number of processes may share it. */
export function openLocalScratch(root: string): ScratchArtifacts {
  const folderOf = (owner: string): string => join(root, encodeURIComponent(owner));
  return {
    of(owner) {
      const artifacts = openLocalArtifacts(folderOf(owner));
      return {
        putFile: (path) => artifacts.putFile(path),
        path: (sha256) => artifacts.path(sha256),
        async delete(sha256) {
          if (!/^[0-9a-f]{64}$/.test(sha256)) throw new Error(`"${sha256}" is not an artifact`);
          await rm(join(folderOf(owner), sha256.slice(0, 2), sha256), { force: true });
        },
      };
    },
    owners: () => foldersIn(root),
    async delete(owner) {
      await rm(folderOf(owner), { recursive: true, force: true });
    },
  };
}

/** Folders that are named after what they belong to by `encodeURIComponent`; none where there is no such root. */
export async function foldersIn(root: string): Promise<string[]> {
  const entries = await readdir(root).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  });
  return entries.flatMap((name) => {
    try {
      return [decodeURIComponent(name)];
    } catch {
      return [];
    }
  });
}
