import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildOnce, cacheDir, exists } from './cache.ts';
import { runToEnd } from './processes.ts';
import { type Say, sayEvery } from './say.ts';
import { findOnPath } from './temporal-cli.ts';

const VERSION = '1.30.1';

export type TimeSkippingServer =
  /** An executable for `TestWorkflowEnvironment.createTimeSkipping({ server: { executable: { type: 'existing-path', path } } })`. */
  { kind: 'found'; path: string } | { kind: 'none'; reason: string };

/**
 * Temporal's test server that skips time, for tests with the production's intervals: FRESHET_TIME_SKIPPING_SERVER, the
 * cache, else the Java server of a pinned version, fetched by Maven. It is wanted by tests alone, so that failing to
 * get it is an answer and no error. With `fetch: false` it is only looked for.
 */
export async function findTimeSkippingServer({
  say,
  env = process.env,
  fetch = true,
}: {
  say: Say;
  env?: NodeJS.ProcessEnv;
  fetch?: boolean;
}): Promise<TimeSkippingServer> {
  const given = env['FRESHET_TIME_SKIPPING_SERVER'];
  if (given) return (await exists(given)) ? { kind: 'found', path: given } : none(`${given} does not exist`);
  const java = await findOnPath('java', env);
  if (java === null) return none('no Java on PATH to run it');
  const folder = join(cacheDir(env), `temporal-test-server-${VERSION}`);
  const path = join(folder, 'temporal-test-server');
  if (await exists(path)) return { kind: 'found', path };
  if (!fetch) return none('not fetched yet: npm test does so');
  const maven = await findOnPath('mvn', env);
  if (maven === null) return none('no Maven on PATH to fetch it');
  say(`Time-skipping server: fetching version ${VERSION} with Maven (30 MB, once)`);
  try {
    await buildOnce(folder, async (unfinished) => {
      await writeFile(join(unfinished, 'pom.xml'), POM);
      const work = runToEnd(
        maven,
        ['-q', '-B', 'dependency:copy-dependencies', '-DoutputDirectory=lib', '-DincludeScope=runtime'],
        { cwd: unfinished, env, timeoutMs: 600_000 },
      );
      const result = await sayEvery({ say, what: 'Time-skipping server', work });
      if (result.code !== 0) throw new Error(result.stdout.trim().split('\n').slice(0, 2).join(' '));
      await writeFile(join(unfinished, 'temporal-test-server'), START);
      await chmod(join(unfinished, 'temporal-test-server'), 0o755);
    });
    return { kind: 'found', path };
  } catch (error) {
    return none(`Maven could not fetch it: ${(error as Error).message}`);
  }
}

function none(reason: string): TimeSkippingServer {
  return { kind: 'none', reason };
}

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>freshet</groupId><artifactId>time-skipping-server</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>io.temporal</groupId><artifactId>temporal-test-server</artifactId><version>${VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
`;

const START = `#!/bin/sh
exec java -XX:+UseSerialGC -Xmx512m -cp "$(dirname "$0")/lib/*" io.temporal.testserver.TestServer "$@"
`;
