import { mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, join } from 'node:path';

/** The folder for what is fetched or built once a machine: `FRESHET_CACHE`, else `freshet` in the user's cache folder. */
export function cacheDir(env: NodeJS.ProcessEnv = process.env): string {
  if (env['FRESHET_CACHE']) return env['FRESHET_CACHE'];
  return join(env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'freshet');
}

/**
 * Builds a folder at most once: `build` fills a folder beside it, which takes the final name only when it is complete.
 * An interrupted build is done again; of two at the same time one wins and the other's work is thrown away.
 */
export async function buildOnce(dir: string, build: (unfinished: string) => Promise<void>): Promise<string> {
  if (await exists(dir)) return dir;
  await mkdir(dirname(dir), { recursive: true });
  const unfinished = await mkdtemp(join(dirname(dir), `.${basename(dir)}-`));
  try {
    await build(unfinished);
    await rename(unfinished, dir).catch(async (error: unknown) => {
      if (!(await exists(dir))) throw error;
    });
    return dir;
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
