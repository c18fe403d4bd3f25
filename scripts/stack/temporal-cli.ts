import { access, constants, mkdir, readdir, rename, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildOnce, cacheDir } from './cache.ts';
import { runToEnd } from './processes.ts';
import { type Say, sayEvery } from './say.ts';

/** The release that `go install` builds, and that the cache folder is named after. */
export const TEMPORAL_CLI_VERSION = '1.5.1';
const MODULE = `github.com/temporalio/cli/cmd/temporal@v${TEMPORAL_CLI_VERSION}`;
/** Behind a firewall the download hangs rather than fails. */
const DOWNLOAD_TIMEOUT_MS = 60_000;

export interface TemporalCli {
  path: string;
  /** Where it was found, for the operator. */
  source: 'environment' | 'PATH' | 'cache' | 'download' | 'go install';
}

/**
 * Finds the Temporal CLI or gets it: FRESHET_TEMPORAL_CLI (or TEMPORAL_CLI), `temporal` on PATH, the cache, the SDK's own
 * download, `go install` of a pinned version, in this order. What was fetched or built stays in the cache.
 *
 * @throws Error that tells what was tried and what to do.
 */
export async function findTemporalCli({
  say,
  env = process.env,
}: {
  say: Say;
  env?: NodeJS.ProcessEnv;
}): Promise<TemporalCli> {
  const tried: string[] = [];
  for (const name of ['FRESHET_TEMPORAL_CLI', 'TEMPORAL_CLI']) {
    const path = env[name];
    if (path === undefined || path === '') continue;
    if (await isExecutable(path)) return { path, source: 'environment' };
    throw new Error(`${name} is set to ${path}, which is no executable file: correct it or unset it`);
  }
  const onPath = await findOnPath('temporal', env);
  if (onPath !== null) return { path: onPath, source: 'PATH' };
  tried.push('`temporal` is not on PATH');

  const built = join(cacheDir(env), `temporal-${TEMPORAL_CLI_VERSION}`);
  const downloaded = join(cacheDir(env), 'temporal-download');
  for (const folder of [built, downloaded]) {
    const path = await executableIn(folder);
    if (path !== null) return { path, source: 'cache' };
  }
  tried.push(`none in the cache (${cacheDir(env)})`);

  say('Temporal CLI: downloading (about 50 MB, once)');
  const download = await downloadWithSdk(downloaded, env);
  if (typeof download !== 'string') return { path: download.path, source: 'download' };
  tried.push(`the SDK's download failed: ${download}`);

  const go = await findOnPath('go', env);
  if (go === null) {
    tried.push('`go` is not on PATH, so it can not be built');
  } else {
    say(`Temporal CLI: the download failed; building ${TEMPORAL_CLI_VERSION} with go install (5 to 10 minutes, once)`);
    const result = await goInstall({ go, folder: built, say, env });
    if (typeof result !== 'string') return { path: result.path, source: 'go install' };
    tried.push(`go install ${MODULE} failed: ${result}`);
  }
  throw new Error(
    `no Temporal CLI could be had:\n${tried.map((line) => `  - ${line}`).join('\n')}\n` +
      'Install it (https://docs.temporal.io/cli) so that `temporal` is on PATH, set FRESHET_TEMPORAL_CLI to its path, ' +
      'or set TEMPORAL_ADDRESS to a server that runs.',
  );
}

/** The first executable file of that name in the folders of PATH. */
export async function findOnPath(name: string, env: NodeJS.ProcessEnv = process.env): Promise<string | null> {
  for (const folder of (env['PATH'] ?? '').split(delimiter)) {
    if (folder !== '' && (await isExecutable(join(folder, name)))) return join(folder, name);
  }
  return null;
}

async function isExecutable(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => null);
  if (found?.isFile() !== true) return false;
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function executableIn(folder: string): Promise<string | null> {
  for (const name of await readdir(folder).catch(() => [])) {
    if (await isExecutable(join(folder, name))) return join(folder, name);
  }
  return null;
}

async function downloadWithSdk(folder: string, env: NodeJS.ProcessEnv): Promise<{ path: string } | string> {
  try {
    await buildOnce(folder, async (unfinished) => {
      // A process of its own: the SDK's download can not be cancelled.
      const script = fileURLToPath(new URL('./download-temporal-cli.mjs', import.meta.url));
      const result = await runToEnd(process.execPath, [script, unfinished], { env, timeoutMs: DOWNLOAD_TIMEOUT_MS });
      if (result.code === 0) return;
      const seconds = String(DOWNLOAD_TIMEOUT_MS / 1_000);
      throw new Error(result.signal === null ? lastLine(result.stderr) : `no answer in ${seconds} s`);
    });
  } catch (error) {
    return (error as Error).message;
  }
  const path = await executableIn(folder);
  return path === null ? `nothing executable in ${folder}` : { path };
}

async function goInstall(options: {
  go: string;
  folder: string;
  say: Say;
  env: NodeJS.ProcessEnv;
}): Promise<{ path: string } | string> {
  const { go, folder, say, env } = options;
  try {
    await buildOnce(folder, async (unfinished) => {
      const bin = join(unfinished, 'bin');
      await mkdir(bin);
      const work = runToEnd(go, ['install', MODULE], { cwd: unfinished, env: { ...env, GOBIN: bin } });
      const result = await sayEvery({ say, what: 'Temporal CLI: go install', work });
      if (result.code !== 0) throw new Error(lastLine(result.stderr));
      await rename(join(bin, 'temporal'), join(unfinished, 'temporal'));
    });
  } catch (error) {
    return (error as Error).message;
  }
  return { path: join(folder, 'temporal') };
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.trim() ?? '';
}
