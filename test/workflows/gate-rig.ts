import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LineConfigInput } from '../../config/schema.ts';
import { openDuckDb, sqlText } from '../../data/duckdb.ts';
import { setEventClock } from '../../store/event-clock.ts';
import {
  createInstallation,
  fixtureTrainer,
  type InstallationOptions,
  type TestInstallation,
} from '../rig/installation.ts';

const START = Date.UTC(2026, 0, 5);
const HOUR = 3_600_000;
/** Rows of an hour, one request each. */
const HOURLY = 150;

/**
 * An installation whose data stands in a lake and whose event time is set by hand, so that each cycle sees the same rows:
 * until hour 4 users click the more the smaller `x` is, until 6 whatever it is, until 7 the more the larger it is. What
 * comes after is not loaded. Labels take half an hour.
 */
export interface GateInstallation extends TestInstallation {
  setHour(hour: number, line?: string): Promise<void>;
}

/** The champion ranks by falling `x`, a challenger by rising: on the hours between 4 and 6 neither is better. */
export async function createGateInstallation(options: InstallationOptions = {}): Promise<GateInstallation> {
  const folder = await mkdtemp(join(tmpdir(), 'freshet-gate-'));
  const path = join(folder, 'rows.parquet');
  await writeRows(path);
  const installation = await createInstallation(options);
  const { line, db } = installation;
  const setHour: GateInstallation['setHour'] = (hour, name = line) =>
    setEventClock(db, { line: name, eventMs: START + hour * HOUR, operatingMs: 0, rate: 0 });
  const given: Partial<LineConfigInput> = {
    source: {
      kind: 'lake',
      path,
      columns: { user: 'u', item: 'i', requestId: 'r', time: 't', label: 'clicked' },
    },
    label: { maturity: '30m', maturityFrom: 'config' },
    // Users turn round in the middle, and the challenger with them: other tests have that blocked.
    checks: { volume: { maxRatio: 1e9 }, driftConcept: { severity: 'warn' } },
    shadow: { onDivergence: 'warn' },
  };
  const configure: TestInstallation['configure'] = (more, name) => installation.configure({ ...given, ...more }, name);
  await setHour(4.5);
  return {
    ...installation,
    setHour,
    configure,
    runCycle: (more) => installation.runCycle({ ...given, ...more }),
    coldStart: () => installation.runCycle({ ...given, training: { command: fixtureTrainer('falling') } }),
    close: async () => {
      await installation.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function writeRows(path: string): Promise<void> {
  const duck = await openDuckDb();
  const draw = (name: string): string => `(md5_number_lower('${name}' || n) % 10000) / 10000.0`;
  try {
    await duck.run(`
      COPY (
        SELECT ${String(START)} + n * ${String(HOUR / HOURLY)} AS t, 'user-' || n % 60 AS u, 'item-' || n AS i, 'request-' || n AS r,
          'topic-' || n % 20 AS topic, 4 * ${draw('x')} - 2 AS x,
          CASE WHEN n < ${String(4 * HOURLY)} THEN -1.0 WHEN n < ${String(6 * HOURLY)} THEN 0.0 ELSE 1.0 END AS slope,
          ${draw('click')} < 1 / (1 + exp(-slope * x)) AS clicked
        FROM range(${String(7 * HOURLY)}) numbers(n)
      ) TO ${sqlText(path)} (FORMAT parquet)`);
  } finally {
    duck.close();
  }
}
