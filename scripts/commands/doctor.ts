import { access as checkAccess, constants, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ScheduleNotFoundError, WorkflowNotFoundError } from '@temporalio/client';
import type { Command } from 'commander';
import { scheduleId } from '../../config/names.ts';
import { openCycle } from '../../store/cycles.ts';
import type { Database } from '../../store/database.ts';
import { undeliveredAlerts, type UndeliveredAlerts } from '../../store/deliveries.ts';
import { listLines } from '../../store/lines.ts';
import { isSupportedNode, OLDEST_NODE } from '../requirements.mjs';
import { checkTokenKeys } from '../keys/check-keys.ts';
import { runToEnd } from '../stack/processes.ts';
import { projectRoot } from '../stack/project.ts';
import { findPythonEnv } from '../stack/python-env.ts';
import { messageOf } from '../stack/say.ts';
import { SEARCH_ATTRIBUTES } from '../stack/temporal-server.ts';
import type { Access } from './access.ts';
import { runs, table } from './run-command.ts';
import { undeliveredInWords } from './undelivered-alerts.ts';

export interface Finding {
  check: string;
  /** `warn`: works, but not as it should in production. */
  status: 'ok' | 'warn' | 'fail';
  /** What was found, and what to do if it is not right. */
  message: string;
}

/** `doctor`: looks at everything an installation needs and says what to do about what is missing. */
export function registerDoctor(program: Command): void {
  runs(program.command('doctor').description('check the installation and say what to do about what is missing'), {
    example: 'doctor',
    work: async (access) => {
      const findings = [...(await checkMachine(access)), ...(await checkServers(access))];
      const ok = findings.every(({ status }) => status !== 'fail');
      return {
        data: { ok, findings },
        text: table(findings.map(({ status, check, message }) => [status, check, message])),
        ok,
      };
    },
  });
}

async function checkMachine(access: Access): Promise<Finding[]> {
  const { env } = access;
  const { artifacts } = await access.installation();
  return [
    isSupportedNode(process.versions.node)
      ? ok('node', process.versions.node)
      : fail('node', `${process.versions.node} is too old: Freshet needs ${OLDEST_NODE} or newer`),
    ...(await checkPython(env)),
    await attempt('artifacts', async () => {
      await mkdir(artifacts, { recursive: true });
      await checkAccess(artifacts, constants.W_OK);
      return ok('artifacts', `${artifacts} is writable`);
    }),
    await attempt('token keys', async () => {
      const { status, message } = await checkTokenKeys(env);
      return { check: 'token keys', status, message };
    }),
  ];
}

async function checkPython(env: NodeJS.ProcessEnv): Promise<Finding[]> {
  const python = await findPythonEnv(env);
  if (python === null) return [fail('python', 'the environment that trains is not set up: run "npm run setup"')];
  const script = 'import onnx, pyarrow, torch; print(torch.__version__, torch.cuda.device_count())';
  const asked = await runToEnd(python, ['-c', script], { env, timeoutMs: 120_000 });
  if (asked.code !== 0) {
    const why = asked.stderr.trim().split('\n').at(-1) ?? '';
    return [
      fail(
        'python',
        `${python} can not train (${why}): unset FRESHET_PYTHON, or install trainer/requirements.lock into it`,
      ),
    ];
  }
  const [torch = '?', gpus = '0'] = asked.stdout.trim().split(' ');
  const gpu = gpus === '0' ? warn('gpu', 'none: training runs on the CPU') : ok('gpu', `${gpus} for training`);
  return [ok('python', `${python} with PyTorch ${torch}`), gpu];
}

async function checkServers(access: Access): Promise<Finding[]> {
  const { databaseUrl } = await access.installation();
  const temporal = await attempt('temporal', () => checkTemporal(access));
  const postgres = await attempt('postgres', () => checkPostgres(access));
  if (postgres.status === 'fail') return [temporal, postgres];
  const alerts = await attempt('alerts', async () => describeAlerts(await undeliveredAlerts(await access.database())));
  const lines =
    temporal.status === 'fail'
      ? []
      : await checkLines(access).catch((error: unknown) => [fail('lines', messageOf(error))]);
  return [temporal, { ...postgres, message: `${new URL(databaseUrl).host}: ${postgres.message}` }, alerts, ...lines];
}

function describeAlerts(undelivered: UndeliveredAlerts): Finding {
  const problems = undeliveredInWords(undelivered);
  return problems.length === 0 ? ok('alerts', 'none waits') : warn('alerts', problems.join('; '));
}

async function checkTemporal(access: Access): Promise<Finding> {
  const client = await access.temporal();
  const { temporalAddress, temporalNamespace: namespace } = await access.installation();
  const { serverVersion } = await client.workflowService.getSystemInfo({});
  const { customAttributes } = await client.connection.operatorService.listSearchAttributes({ namespace });
  const missing = Object.entries(SEARCH_ATTRIBUTES).filter(([name]) => !(name in customAttributes));
  const where = `server ${serverVersion} at ${temporalAddress}`;
  if (missing.length === 0) return ok('temporal', where);
  const wanted = missing.map(([name, type]) => `--name ${name} --type ${type}`).join(' ');
  return fail('temporal', `${where} lacks search attributes: temporal operator search-attribute create ${wanted}`);
}

async function checkPostgres(access: Access): Promise<Finding> {
  const db = await access.database();
  const files = (await readdir(join(projectRoot(), 'store', 'migrations'))).filter((name) => name.endsWith('.sql'));
  const ran = await migrationsThatRan(db);
  const pending = files.map((name) => name.replace(/\.sql$/, '')).filter((name) => !ran.has(name));
  if (pending.length > 0) return fail('postgres', `the schema lacks ${pending.join(', ')}: run "freshet migrate"`);
  return ok('postgres', 'schema up to date');
}

async function migrationsThatRan(db: Database): Promise<Set<string>> {
  const { rows: tables } = await db.query(
    `select 1 from information_schema.tables where table_name = 'freshet_migrations'`,
  );
  if (tables.length === 0) return new Set();
  const { rows } = await db.query<{ name: string }>('select name from freshet_migrations');
  return new Set(rows.map(({ name }) => name));
}

async function checkLines(access: Access): Promise<Finding[]> {
  const db = await access.database();
  const client = await access.temporal();
  const findings: Finding[] = [];
  for (const { line } of await listLines(db)) {
    findings.push(
      await attempt(line, async () => {
        const { state } = await client.schedule.getHandle(scheduleId(line)).describe();
        return state.paused
          ? warn(line, `its schedule is paused: ${state.note ?? 'no reason given'}`)
          : ok(line, 'scheduled');
      }),
    );
    const open = await openCycle(db, line);
    if (open === null) continue;
    const run = client.workflow.getHandle(open.workflowId, open.runId);
    const status = await run.describe().then(
      ({ status: { name } }) => name,
      (error: unknown) => {
        if (error instanceof WorkflowNotFoundError) return 'unknown to Temporal';
        throw error;
      },
    );
    if (status === 'RUNNING') continue;
    const advice = `its next cycle takes over; to remove a candidate now: freshet rollback ${line} --direct --reason "..."`;
    findings.push(fail(line, `cycle ${open.cycleId} is open but its run is over (${status.toLowerCase()}): ${advice}`));
  }
  if (findings.length === 0) findings.push(warn('lines', 'none yet: run "freshet schedule apply FILE"'));
  return findings;
}

async function attempt(check: string, look: () => Promise<Finding>): Promise<Finding> {
  try {
    return await look();
  } catch (error) {
    if (error instanceof ScheduleNotFoundError)
      return fail(check, 'it has no schedule: run "freshet schedule apply FILE"');
    return fail(check, messageOf(error));
  }
}

const ok = (check: string, message: string): Finding => ({ check, status: 'ok', message });
const warn = (check: string, message: string): Finding => ({ check, status: 'warn', message });
const fail = (check: string, message: string): Finding => ({ check, status: 'fail', message });
