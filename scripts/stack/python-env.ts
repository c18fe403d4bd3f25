import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildOnce, cacheDir, exists } from './cache.ts';
import { projectRoot } from './project.ts';
import { runToEnd } from './processes.ts';
import { type Say, sayEvery } from './say.ts';
import { findOnPath } from './temporal-cli.ts';

const UV_VERSION = '0.13.8';
const OLDEST_PYTHON = [3, 10] as const;

export interface PythonEnv {
  /** The interpreter that has the trainer's dependencies. */
  path: string;
  source: 'environment' | 'cache' | 'built';
}

/**
 * The Python that trains, if it is there already: FRESHET_PYTHON, else the environment of the trainer's locked
 * requirements in the cache. Null when it has yet to be set up.
 */
export async function findPythonEnv(env: NodeJS.ProcessEnv = process.env): Promise<string | null> {
  if (env['FRESHET_PYTHON']) return env['FRESHET_PYTHON'];
  return findLockedPython({ lock: lockFile(), name: 'python', env });
}

/** What {@link ensureLockedPython} set up; null when it has yet to be, or when there is no such lock file. */
export async function findLockedPython(input: {
  lock: string;
  name: string;
  env?: NodeJS.ProcessEnv;
}): Promise<string | null> {
  const { lock, name, env = process.env } = input;
  if (!(await exists(lock))) return null;
  const path = join(await environmentFolder({ lock, name, env }), 'bin', 'python');
  return (await exists(path)) ? path : null;
}

/**
 * The Python that trains, set up in the cache when it is missing: every package pinned and verified by its hash. The
 * folder is named after the lock file's hash, so a changed lock makes a new one.
 *
 * @throws Error when there is no Python that is new enough, or when packages can not be fetched.
 */
export async function ensurePythonEnv({
  say,
  env = process.env,
}: {
  say: Say;
  env?: NodeJS.ProcessEnv;
}): Promise<PythonEnv> {
  const given = env['FRESHET_PYTHON'];
  if (given) {
    const path = given.includes('/') ? given : await findOnPath(given, env);
    if (path !== null && (await exists(path))) return { path, source: 'environment' };
    throw new Error(`FRESHET_PYTHON is set to ${given}, which does not exist: correct it or unset it`);
  }
  return ensureLockedPython({
    lock: lockFile(),
    name: 'python',
    what: 'Python environment: installing PyTorch and what the trainer needs (about 5 GB on disk, once, some minutes)',
    otherwise: ', or set FRESHET_PYTHON to a Python that has trainer/requirements.lock installed',
    say,
    env,
  });
}

/**
 * A Python with the packages of a lock file and no others, set up in the cache when it is missing: every package verified by
 * its hash. The folder is named after the lock file's hash, so a changed lock makes a new one.
 *
 * @param input.name first part of the folder's name.
 * @param input.what what is said before packages are fetched.
 * @param input.otherwise what else can be done when that fails: the end of a sentence.
 * @throws Error when there is no Python that is new enough, or when packages can not be fetched.
 */
export async function ensureLockedPython(input: {
  lock: string;
  name: string;
  what: string;
  otherwise?: string;
  say: Say;
  env?: NodeJS.ProcessEnv;
}): Promise<PythonEnv> {
  const { lock, name, what, otherwise = '', say, env = process.env } = input;
  const folder = await environmentFolder({ lock, name, env });
  const path = join(folder, 'bin', 'python');
  if (await exists(path)) return { path, source: 'cache' };
  const must = mustRun({ env, otherwise });
  const python = await findPython(env, otherwise);
  say(what);
  const uv = await findUv({ python, say, env, must });
  await buildOnce(folder, async (unfinished) => {
    // Relocatable, since the folder gets its final name when it is complete.
    await must(uv, ['venv', '--quiet', '--allow-existing', '--relocatable', '--python', python, unfinished]);
    const target = join(unfinished, 'bin', 'python');
    const install = must(uv, ['pip', 'install', '--quiet', '--require-hashes', '--python', target, '-r', lock]);
    await sayEvery({ say, what: 'Python environment', work: install });
  });
  return { path, source: 'built' };
}

function lockFile(): string {
  return join(projectRoot(), 'trainer', 'requirements.lock');
}

async function environmentFolder(input: { lock: string; name: string; env: NodeJS.ProcessEnv }): Promise<string> {
  const hash = createHash('sha256')
    .update(await readFile(input.lock))
    .digest('hex');
  return join(cacheDir(input.env), `${input.name}-${hash.slice(0, 16)}`);
}

async function findPython(env: NodeJS.ProcessEnv, otherwise: string): Promise<string> {
  const seen: string[] = [];
  for (const name of ['python3', 'python3.13', 'python3.12', 'python3.11', 'python3.10', 'python']) {
    const path = await findOnPath(name, env);
    if (path === null) continue;
    const asked = await runToEnd(path, ['-c', 'import sys, venv; print("%d.%d" % sys.version_info[:2])'], { env });
    const version = asked.stdout.trim();
    const [major = 0, minor = 0] = version.split('.').map(Number);
    if (major === OLDEST_PYTHON[0] && minor >= OLDEST_PYTHON[1]) return path;
    seen.push(`${path} is ${version === '' ? 'not usable' : version}`);
  }
  throw new Error(
    `this needs Python ${OLDEST_PYTHON.join('.')} or newer with its venv module${seen.length > 0 ? ` (${seen.join(', ')})` : ''}: ` +
      `install it so that \`python3\` is on PATH${otherwise}`,
  );
}

async function findUv({
  python,
  say,
  env,
  must,
}: {
  python: string;
  say: Say;
  env: NodeJS.ProcessEnv;
  must: ReturnType<typeof mustRun>;
}): Promise<string> {
  const onPath = await findOnPath('uv', env);
  if (onPath !== null) return onPath;
  const folder = join(cacheDir(env), `uv-${UV_VERSION}`);
  if (!(await exists(folder))) say(`Python environment: fetching uv ${UV_VERSION} first`);
  await buildOnce(folder, async (unfinished) => {
    const venv = join(unfinished, 'venv');
    await must(python, ['-m', 'venv', venv]);
    await must(join(venv, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', `uv==${UV_VERSION}`]);
  });
  // uv is a plain executable, so it does not mind that its folder was renamed.
  return join(folder, 'venv', 'bin', 'uv');
}

function mustRun({ env, otherwise }: { env: NodeJS.ProcessEnv; otherwise: string }) {
  return async (command: string, args: string[]): Promise<void> => {
    const result = await runToEnd(command, args, { env });
    if (result.code === 0) return;
    const end = (result.stderr || result.stdout).trim().split('\n').slice(-6).join('\n');
    throw new Error(
      `the Python environment could not be set up: ${command} ${args.slice(0, 4).join(' ')} … failed:\n${end}\n` +
        `Check the network and the free disk space and run it again${otherwise}.`,
    );
  };
}
