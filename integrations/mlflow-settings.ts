import { createHash } from 'node:crypto';
import { z } from 'zod';
import { Mlflow } from './mlflow.ts';

const text = z
  .string()
  .trim()
  .transform((value) => (value === '' ? undefined : value))
  .optional();

const environmentSchema = z.object({
  MLFLOW_TRACKING_URI: text,
  // What fetch takes in a header: its own error would repeat the value.
  MLFLOW_TRACKING_TOKEN: text.pipe(
    z
      .string()
      .regex(/^[\x21-\x7e]+$/, 'expected one word of ASCII characters')
      .optional(),
  ),
  MLFLOW_TRACKING_USERNAME: text,
  MLFLOW_TRACKING_PASSWORD: text,
  FRESHET_MLFLOW_PREFIX: text.pipe(
    z
      .string()
      .regex(/^[A-Za-z0-9_-]{1,60}$/, 'expected letters, digits, _ and -')
      .default('freshet'),
  ),
});

/** Where lines are mirrored to, and under which names. */
export interface MlflowTarget {
  mlflow: Mlflow;
  /** First part of the names of experiments and registered models. */
  prefix: string;
  /** Says whether two targets are the same one: a hash of the address and the prefix. */
  id: string;
}

/**
 * The tracking server that the environment names, by the variables that MLflow's own clients read; null when
 * MLFLOW_TRACKING_URI is not set. A user and password win over a token, as they do there.
 *
 * @throws Error when a variable is set to what it can not be; the message does not repeat the value.
 */
export function mlflowFromEnv(environment: Record<string, string | undefined>): MlflowTarget | null {
  const parsed = environmentSchema.safeParse(environment);
  if (!parsed.success) {
    throw new Error(parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '));
  }
  const env = parsed.data;
  const { MLFLOW_TRACKING_URI: uri, FRESHET_MLFLOW_PREFIX: prefix } = env;
  if (uri === undefined) return null;
  if (!URL.canParse(uri) || !/^https?:$/.test(new URL(uri).protocol)) {
    throw new Error(
      'MLFLOW_TRACKING_URI must be the http or https URL of a tracking server for versions to be mirrored (files and databases are not)',
    );
  }
  const url = new URL(uri);
  const username = env.MLFLOW_TRACKING_USERNAME ?? decoded(url.username);
  const password = env.MLFLOW_TRACKING_PASSWORD ?? decoded(url.password);
  const token = env.MLFLOW_TRACKING_TOKEN;
  const basic = username === '' || password === '' ? null : `${username}:${password}`;
  // fetch refuses them in a URL.
  url.username = '';
  url.password = '';
  url.search = '';
  url.hash = '';
  const authorization =
    basic !== null ? `Basic ${Buffer.from(basic).toString('base64')}` : token === undefined ? null : `Bearer ${token}`;
  const mlflow = new Mlflow({ url: url.href, authorization });
  return { mlflow, prefix, id: createHash('sha256').update(`${mlflow.url}\n${prefix}`).digest('hex').slice(0, 12) };
}

/** A user or password in a URL; as it stands where somebody wrote a bare % into it. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
