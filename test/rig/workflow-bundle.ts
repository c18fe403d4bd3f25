import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bundleWorkflowCode, type ReplayWorkerOptions, type WorkerOptions } from '@temporalio/worker';
import { projectRoot } from '../../scripts/stack/project.ts';

/** Everything that gets into the bundle, besides npm packages. */
const SOURCES = ['workflows', 'policy', 'config'];
let bundle: Promise<{ codePath: string }> | undefined;
const quiet = (): void => undefined;

/**
 * The workflow code, bundled as `npm run build` does, at most once for the same sources: bundling takes seconds, and
 * every test file needs it.
 */
export function workflowBundle(): Promise<{ codePath: string }> {
  bundle ??= makeBundle();
  return bundle;
}

/** In a thread of its own: the SDK's default replays in this one, and leaves a hook on each of its promises behind. */
export async function replayOptions(): Promise<ReplayWorkerOptions & Pick<WorkerOptions, 'debugMode'>> {
  return { workflowBundle: await workflowBundle(), debugMode: false };
}

async function makeBundle(): Promise<{ codePath: string }> {
  const root = projectRoot();
  const folder = join(root, '.freshet', 'test-bundles');
  const codePath = join(folder, `${await hashOfSources(root)}.js`);
  if ((await readFile(codePath).catch(() => null)) !== null) return { codePath };
  const { code } = await bundleWorkflowCode({
    workflowsPath: join(root, 'workflows', 'index.ts'),
    logger: { log: quiet, trace: quiet, debug: quiet, info: quiet, warn: console.warn, error: console.error },
  });
  await mkdir(folder, { recursive: true });
  await writeFile(`${codePath}.${process.pid}`, code);
  await rename(`${codePath}.${process.pid}`, codePath);
  return { codePath };
}

async function hashOfSources(root: string): Promise<string> {
  const hash = createHash('sha256');
  hash.update(await readFile(join(root, 'package-lock.json')));
  for (const folder of SOURCES) {
    for (const name of (await readdir(join(root, folder), { recursive: true })).sort()) {
      if (name.endsWith('.ts')) hash.update(name).update(await readFile(join(root, folder, name)));
    }
  }
  return hash.digest('hex').slice(0, 16);
}
