import { z } from 'zod';
import { answerError, MlflowError } from './mlflow-error.ts';

export { MlflowError } from './mlflow-error.ts';

/** Limits of one log-batch request (MLflow's REST API): counts of each kind, and of all together. */
const BATCH = { metrics: 900, params: 50, tags: 50 } as const;
const TIMEOUT_MS = 10_000;
const MISSING = 'RESOURCE_DOES_NOT_EXIST';
const EXISTS = 'RESOURCE_ALREADY_EXISTS';

const pairs = z
  .array(z.object({ key: z.string(), value: z.string().default('') }))
  .default([])
  .transform((list) => new Map(list.map(({ key, value }) => [key, value])));
const experimentSchema = z.object({ experiment_id: z.string(), lifecycle_stage: z.string().optional() });
const runSchema = z
  .object({ info: z.object({ run_id: z.string(), status: z.string(), lifecycle_stage: z.string() }) })
  .transform(({ info }) => ({
    runId: info.run_id,
    finished: info.status === 'FINISHED',
    deleted: info.lifecycle_stage !== 'active',
  }));
const modelSchema = z
  .object({
    aliases: z.array(z.object({ alias: z.string(), version: z.string() })).default([]),
    tags: pairs,
  })
  .transform(({ aliases, tags }) => ({
    tags,
    aliases: new Map(aliases.map(({ alias, version }) => [alias, version])),
  }));
const modelVersionSchema = z
  .object({ version: z.string(), run_id: z.string().default(''), tags: pairs })
  .transform(({ version, run_id: runId, tags }) => ({ version, runId, tags }));
const failureSchema = z.object({ error_code: z.string().optional(), message: z.string().optional() });

export type MlflowRun = z.output<typeof runSchema>;
/** A registered model: its aliases with MLflow's version numbers, its tags. */
export type MlflowModel = z.output<typeof modelSchema>;
export type MlflowModelVersion = z.output<typeof modelVersionSchema>;
export type Tags = Readonly<Record<string, string>>;

export interface RunContent {
  params?: Readonly<Record<string, string>>;
  /** Finite numbers only. */
  metrics?: Readonly<Record<string, number>>;
  /** Unix ms that the metrics are of; logging the same value at the same time again changes nothing. */
  metricsAtMs?: number;
  tags?: Tags;
}

export interface MlflowOptions {
  /** Of the tracking server, with a path prefix if it has one. */
  url: string;
  /** Value of the Authorization header; null: none is sent. */
  authorization?: string | null;
  /** Of one request. */
  timeoutMs?: number;
  /** Ends what is under way. */
  signal?: AbortSignal;
}

/**
 * What the mirror needs of MLflow's REST API 2.0. Every method throws MlflowError, save that what does not exist is null;
 * creating what somebody else just created takes theirs.
 */
export class Mlflow {
  readonly url: string;
  readonly #authorization: string | null;
  readonly #timeoutMs: number;
  readonly #signal: AbortSignal | undefined;

  constructor({ url, authorization = null, timeoutMs = TIMEOUT_MS, signal }: MlflowOptions) {
    this.url = url.replace(/\/+$/, '');
    this.#authorization = authorization;
    this.#timeoutMs = timeoutMs;
    this.#signal = signal;
  }

  /** The same server, with requests that also end with `signal`. */
  until(signal: AbortSignal): Mlflow {
    return new Mlflow({
      url: this.url,
      authorization: this.#authorization,
      timeoutMs: this.#timeoutMs,
      signal: this.#signal === undefined ? signal : AbortSignal.any([this.#signal, signal]),
    });
  }

  /** @throws MlflowError also when the experiment is there, but was deleted: MLflow keeps the name. */
  async ensureExperiment(name: string): Promise<string> {
    const query = { experiment_name: name };
    const answer = z.object({ experiment: experimentSchema });
    const read = (): Promise<z.output<typeof answer> | null> => this.#find('experiments/get-by-name', query, answer);
    let found = await read();
    if (found === null) {
      await this.#create('experiments/create', { name });
      found = await read();
    }
    if (found !== null && found.experiment.lifecycle_stage !== 'deleted') return found.experiment.experiment_id;
    throw new MlflowError(
      `the experiment ${name} was deleted in MLflow: restore it (mlflow experiments restore), or mirror under other names (FRESHET_MLFLOW_PREFIX)`,
      { kind: 'refused' },
    );
  }

  /** The oldest run of the experiment that has the tag and was not deleted. */
  async findRun(experimentId: string, tag: { key: string; value: string }): Promise<MlflowRun | null> {
    const { runs } = await this.#post(
      'runs/search',
      {
        experiment_ids: [experimentId],
        filter: `tags.\`${tag.key}\` = ${quoted(tag.value)}`,
        max_results: 1,
        order_by: ['attributes.start_time ASC'],
      },
      z.object({ runs: z.array(runSchema).default([]) }),
    );
    return runs[0] ?? null;
  }

  async findRunById(runId: string): Promise<MlflowRun | null> {
    return (await this.#find('runs/get', { run_id: runId }, z.object({ run: runSchema })))?.run ?? null;
  }

  /** Begins a run, which MLflow calls RUNNING until it is finished. */
  async createRun(run: { experimentId: string; name: string; startMs: number; tags: Tags }): Promise<MlflowRun> {
    const body = {
      experiment_id: run.experimentId,
      run_name: run.name,
      start_time: run.startMs,
      tags: listed(run.tags),
    };
    return (await this.#post('runs/create', body, z.object({ run: runSchema }))).run;
  }

  async finishRun(runId: string, endMs: number): Promise<void> {
    await this.#post('runs/update', { run_id: runId, status: 'FINISHED', end_time: endMs });
  }

  /** In as many requests as MLflow's limits take. Repeating it changes nothing; another value of a param is refused. */
  async log(runId: string, { params = {}, metrics = {}, metricsAtMs = 0, tags = {} }: RunContent): Promise<void> {
    const left = {
      metrics: Object.entries(metrics).map(([key, value]) => ({ key, value, timestamp: metricsAtMs, step: 0 })),
      params: listed(params),
      tags: listed(tags),
    };
    while (left.metrics.length + left.params.length + left.tags.length > 0) {
      await this.#post('runs/log-batch', {
        run_id: runId,
        metrics: left.metrics.splice(0, BATCH.metrics),
        params: left.params.splice(0, BATCH.params),
        tags: left.tags.splice(0, BATCH.tags),
      });
    }
  }

  async ensureModel(name: string, description: string): Promise<MlflowModel> {
    const answer = z.object({ registered_model: modelSchema });
    const read = (): Promise<z.output<typeof answer> | null> => this.#find('registered-models/get', { name }, answer);
    let found = await read();
    if (found === null) {
      await this.#create('registered-models/create', { name, description });
      found = await read();
    }
    if (found !== null) return found.registered_model;
    throw new MlflowError(`the registered model ${name} is gone just after it was created`, { kind: 'failing' });
  }

  async findModelVersion(
    name: string,
    of: { version: string } | { runId: string },
  ): Promise<MlflowModelVersion | null> {
    if ('version' in of) {
      const answer = z.object({ model_version: modelVersionSchema });
      const found = await this.#find('model-versions/get', { name, version: of.version }, answer);
      return found?.model_version ?? null;
    }
    const filter = `name = ${quoted(name)} and run_id = ${quoted(of.runId)}`;
    const answer = z.object({ model_versions: z.array(modelVersionSchema).default([]) });
    const found = await this.#find('model-versions/search', { filter, max_results: '1' }, answer);
    return found?.model_versions[0] ?? null;
  }

  /** @param of.source where the model is, as an absolute URI. */
  async createModelVersion(
    name: string,
    of: { source: string; runId: string; description: string; tags: Tags },
  ): Promise<MlflowModelVersion> {
    const { source, runId, description } = of;
    const body = { name, source, run_id: runId, description, tags: listed(of.tags) };
    const answer = z.object({ model_version: modelVersionSchema });
    return (await this.#post('model-versions/create', body, answer)).model_version;
  }

  async setModelVersionTag(name: string, version: string, tag: { key: string; value: string }): Promise<void> {
    await this.#post('model-versions/set-tag', { name, version, ...tag });
  }

  async setModelTag(name: string, tag: { key: string; value: string }): Promise<void> {
    await this.#post('registered-models/set-tag', { name, ...tag });
  }

  async deleteModelTag(name: string, key: string): Promise<void> {
    await this.#delete('registered-models/delete-tag', { name, key });
  }

  async setAlias(name: string, alias: string, version: string): Promise<void> {
    await this.#post('registered-models/alias', { name, alias, version });
  }

  async deleteAlias(name: string, alias: string): Promise<void> {
    await this.#delete('registered-models/alias', { name, alias });
  }

  async #find<T>(path: string, query: Record<string, string>, answer: z.ZodType<T>): Promise<T | null> {
    try {
      return await this.#send({ method: 'GET', path: `${path}?${new URLSearchParams(query).toString()}`, answer });
    } catch (error) {
      if (error instanceof MlflowError && error.code === MISSING) return null;
      throw error;
    }
  }

  async #create(path: string, body: unknown): Promise<void> {
    try {
      await this.#post(path, body);
    } catch (error) {
      if (!(error instanceof MlflowError && error.code === EXISTS)) throw error;
    }
  }

  async #delete(path: string, body: unknown): Promise<void> {
    await this.#send({ method: 'DELETE', path, body, answer: z.unknown() });
  }

  #post(path: string, body: unknown): Promise<unknown>;
  #post<T>(path: string, body: unknown, answer: z.ZodType<T>): Promise<T>;
  #post(path: string, body: unknown, answer: z.ZodType = z.unknown()): Promise<unknown> {
    return this.#send({ method: 'POST', path, body, answer });
  }

  async #send<T>(of: { method: string; path: string; body?: unknown; answer: z.ZodType<T> }): Promise<T> {
    const { method, path, body, answer } = of;
    const who = `MLflow at ${new URL(this.url).host} (${path.replace(/\?.*/, '')})`;
    const { status, text } = await this.#fetch({ method, path, body, who });
    const json = parsedJson(text);
    if (status < 200 || status > 299) {
      throw answerError({ who, status, answer: failureSchema.safeParse(json).data ?? null });
    }
    const read = answer.safeParse(json);
    if (read.success) return read.data;
    const [issue] = read.error.issues;
    const where = `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`;
    throw new MlflowError(
      `${who} did not answer as MLflow's API 2.0 does (${where}): is MLFLOW_TRACKING_URI that of a tracking server?`,
      { kind: 'failing', status },
    );
  }

  async #fetch(of: {
    method: string;
    path: string;
    body?: unknown;
    who: string;
  }): Promise<{ status: number; text: string }> {
    const { method, path, body, who } = of;
    const timeout = AbortSignal.timeout(this.#timeoutMs);
    try {
      const response = await fetch(`${this.url}/api/2.0/mlflow/${path}`, {
        method,
        headers: {
          accept: 'application/json',
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(this.#authorization === null ? {} : { authorization: this.#authorization }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        // Following one would carry the credentials elsewhere.
        redirect: 'manual',
        signal: this.#signal === undefined ? timeout : AbortSignal.any([timeout, this.#signal]),
      });
      return { status: response.status, text: await response.text() };
    } catch (error) {
      const why = timeout.aborted
        ? `gave no answer within ${String(this.#timeoutMs)} ms`
        : `can not be reached: ${reason(error)}`;
      throw new MlflowError(`${who} ${why}`, { kind: 'unreachable' });
    }
  }
}

function listed(values: Readonly<Record<string, string>>): { key: string; value: string }[] {
  return Object.entries(values).map(([key, value]) => ({ key, value }));
}

/** A string in MLflow's filter language, which has no escapes: what it can not say is refused before it means something else. */
function quoted(value: string): string {
  if (!value.includes("'")) return `'${value}'`;
  if (!value.includes('"')) return `"${value}"`;
  throw new MlflowError(`MLflow can not search for ${value}`, { kind: 'refused' });
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** `fetch failed` says nothing; its cause does. */
function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  if (cause instanceof Error) return 'code' in cause ? `${String(cause.code)} ${cause.message}`.trim() : cause.message;
  return error.message;
}
