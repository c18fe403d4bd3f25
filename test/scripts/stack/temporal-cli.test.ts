import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findTemporalCli, TEMPORAL_CLI_VERSION } from '../../../scripts/stack/temporal-cli.ts';

let folder: string;
let env: NodeJS.ProcessEnv;
const said: string[] = [];
const say = (line: string): void => {
  said.push(line);
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'freshet-cli-'));
  said.length = 0;
  env = { PATH: join(folder, 'bin'), FRESHET_CACHE: join(folder, 'cache') };
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

test('the order is environment, PATH, cache: each wins over what comes after it', async () => {
  const cached = executable(`cache/temporal-${TEMPORAL_CLI_VERSION}/temporal`);
  expect(await findTemporalCli({ say, env })).toEqual({ path: cached, source: 'cache' });
  const onPath = executable('bin/temporal');
  expect(await findTemporalCli({ say, env })).toEqual({ path: onPath, source: 'PATH' });
  const given = executable('mine/temporal');
  expect(await findTemporalCli({ say, env: { ...env, FRESHET_TEMPORAL_CLI: given } })).toEqual({
    path: given,
    source: 'environment',
  });
  expect(said).toEqual([]);
});

test('a variable that names no executable is an error, not a reason to look elsewhere', async () => {
  executable('bin/temporal');
  const wrong = { ...env, FRESHET_TEMPORAL_CLI: join(folder, 'nothing') };
  await expect(findTemporalCli({ say, env: wrong })).rejects.toThrow('FRESHET_TEMPORAL_CLI');
});

test('a file on PATH that can not be executed is passed over', async () => {
  chmodSync(executable('bin/temporal'), 0o644);
  const cached = executable(`cache/temporal-${TEMPORAL_CLI_VERSION}/temporal`);
  expect((await findTemporalCli({ say, env })).path).toBe(cached);
});

test('without a download it is built with go install, once, and kept in the cache', async () => {
  executable(
    'bin/go',
    'echo "$@" >> "$GOBIN/../../../calls"; printf "#!/bin/sh\\n" > "$GOBIN/temporal"; chmod +x "$GOBIN/temporal"',
  );
  const offline = { ...env, PATH: `${join(folder, 'bin')}:/usr/bin:/bin`, ...NO_NETWORK };
  const built = await findTemporalCli({ say, env: offline });
  expect(built).toEqual({
    path: join(folder, 'cache', `temporal-${TEMPORAL_CLI_VERSION}`, 'temporal'),
    source: 'go install',
  });
  expect(said.join('\n')).toContain('go install');
  expect((await findTemporalCli({ say, env: offline })).source).toBe('cache');
});

test('when nothing helps, the error tells all that was tried and what to do', async () => {
  executable('bin/go', 'echo "no such module" >&2; exit 1');
  const offline = { ...env, PATH: `${join(folder, 'bin')}:/usr/bin:/bin`, ...NO_NETWORK };
  const problem = await findTemporalCli({ say, env: offline }).catch((error: unknown) => (error as Error).message);
  expect(problem).toContain('not on PATH');
  expect(problem).toContain('download failed');
  expect(problem).toContain('no such module');
  expect(problem).toContain('FRESHET_TEMPORAL_CLI');
});

/** A proxy that refuses connections, so that the download fails at once wherever the tests run. */
const NO_NETWORK = {
  HTTPS_PROXY: 'http://127.0.0.1:9',
  https_proxy: 'http://127.0.0.1:9',
  HTTP_PROXY: 'http://127.0.0.1:9',
};

function executable(path: string, script = 'exit 0'): string {
  const file = join(folder, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
  return file;
}
