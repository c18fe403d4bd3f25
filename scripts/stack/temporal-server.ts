import { Connection } from '@temporalio/client';
import proto from '@temporalio/proto';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './ports.ts';
import type { RunningProcess, Supervisor } from './processes.ts';
import { messageOf } from './say.ts';

const { IndexedValueType } = proto.temporal.api.enums.v1;
const START_TIMEOUT_MS = 60_000;

/**
 * What makes waiting trainings come in the order of their priorities, and lines of one priority in turn. Order holds within
 * a partition of a task queue: a dev server has no traffic for more than one.
 */
export const DYNAMIC_CONFIG = {
  'matching.useNewMatcher': true,
  'matching.enableFairness': true,
  'matching.enableMigration': true,
  'matching.numTaskqueueReadPartitions': 1,
  'matching.numTaskqueueWritePartitions': 1,
  // Else timers fire up to a second late, which is a whole check of a cycle whose minutes are played in a tenth of a second.
  'history.timerProcessorMaxTimeShift': '10ms',
} as const;

/** What cycles can be searched by in the Temporal UI. */
export const SEARCH_ATTRIBUTES = {
  FreshetLine: 'Keyword',
  FreshetPhase: 'Keyword',
  FreshetOutcome: 'Keyword',
  FreshetVersion: 'Int',
  FreshetTrigger: 'Keyword',
} as const;

export interface TemporalOptions {
  /** Path of the Temporal CLI. */
  cli: string;
  supervisor: Supervisor;
  preferredPort?: number;
  /** Null: no UI. */
  preferredUiPort: number | null;
  /** SQLite file that keeps workflows over restarts; in memory when left out. */
  dbFile?: string;
}

export interface TemporalServer {
  address: string;
  uiUrl: string | null;
  process: RunningProcess;
}

/**
 * Starts a Temporal dev server on 127.0.0.1 with Freshet's search attributes and waits until it answers.
 *
 * @throws Error when it does not come up; the message carries its last lines.
 */
export async function startTemporalServer(options: TemporalOptions): Promise<TemporalServer> {
  const port = await freePort(options.preferredPort ?? 7233);
  const uiPort = options.preferredUiPort === null ? null : await freePort(options.preferredUiPort);
  const server = await options.supervisor.start({
    name: 'temporal',
    command: options.cli,
    args: [
      ...['server', 'start-dev', '--ip', '127.0.0.1', '--log-level', 'warn', '--port', String(port)],
      ...(uiPort === null ? ['--headless'] : ['--ui-ip', '127.0.0.1', '--ui-port', String(uiPort)]),
      ...Object.entries(DYNAMIC_CONFIG).flatMap(([key, value]) => [
        '--dynamic-config-value',
        `${key}=${JSON.stringify(value)}`,
      ]),
      ...(options.dbFile === undefined ? [] : ['--db-filename', options.dbFile]),
      ...Object.entries(SEARCH_ATTRIBUTES).flatMap(([name, type]) => ['--search-attribute', `${name}=${type}`]),
    ],
  });
  const address = `127.0.0.1:${String(port)}`;
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    const problem = await problemOf(address);
    if (problem === null) break;
    if (!server.running() || Date.now() > deadline) {
      const lines = server.lastLines();
      await server.stop();
      throw new Error(
        `the Temporal dev server did not start (${problem}); its last lines, from ${server.logFile}:\n${lines}`,
      );
    }
    await sleep(100);
  }
  return { address, uiUrl: uiPort === null ? null : `http://127.0.0.1:${String(uiPort)}`, process: server };
}

/**
 * Makes sure that a server which somebody else runs knows Freshet's search attributes.
 *
 * @throws Error when it can not be reached, says what to do.
 */
export async function prepareTemporal(address: string, namespace = 'default'): Promise<void> {
  const connection = await Connection.connect({ address, connectTimeout: '5s' }).catch((error: unknown) => {
    throw new Error(
      `no Temporal server answers at ${address} (${messageOf(error)}): start it, correct TEMPORAL_ADDRESS, ` +
        'or unset it so that a dev server is started',
    );
  });
  try {
    const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
    const missing = Object.entries(SEARCH_ATTRIBUTES).filter(([name]) => !(name in customAttributes));
    if (missing.length === 0) return;
    await connection.operatorService.addSearchAttributes({
      namespace,
      searchAttributes: Object.fromEntries(
        missing.map(([name, type]) => [
          name,
          type === 'Int' ? IndexedValueType.INDEXED_VALUE_TYPE_INT : IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
        ]),
      ),
    });
  } catch (error) {
    const wanted = Object.entries(SEARCH_ATTRIBUTES).map(([name, type]) => `--name ${name} --type ${type}`);
    throw new Error(
      `the search attributes could not be registered in namespace "${namespace}" of ${address} (${messageOf(error)}): ` +
        `temporal operator search-attribute create ${wanted.join(' ')}`,
    );
  } finally {
    await connection.close();
  }
}

async function problemOf(address: string): Promise<string | null> {
  let connection: Connection | undefined;
  try {
    connection = await Connection.connect({ address, connectTimeout: '2s' });
    const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace: 'default' });
    const missing = Object.keys(SEARCH_ATTRIBUTES).filter((name) => !(name in customAttributes));
    return missing.length === 0 ? null : `search attributes ${missing.join(', ')} are not registered yet`;
  } catch (error) {
    return messageOf(error);
  } finally {
    await connection?.close();
  }
}
