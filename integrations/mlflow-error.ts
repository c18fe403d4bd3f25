/**
 * Why MLflow did not do as asked. `unreachable`: no answer in time; `credentials`: 401 or 403; `failing`: 5xx, 429, or an
 * answer that is not MLflow's; `refused`: MLflow understood and said no, and would again.
 */
export type MlflowFailure = 'unreachable' | 'credentials' | 'failing' | 'refused';

/** A request that MLflow did not fulfil. The message has the host, MLflow's own words and what to do, and no secret. */
export class MlflowError extends Error {
  override readonly name = 'MlflowError';
  readonly kind: MlflowFailure;
  /** HTTP status; null without an answer. */
  readonly status: number | null;
  /** MLflow's `error_code`, such as RESOURCE_DOES_NOT_EXIST; null where it gave none. */
  readonly code: string | null;

  constructor(
    message: string,
    { kind, status = null, code = null }: { kind: MlflowFailure; status?: number | null; code?: string | null },
  ) {
    super(message);
    this.kind = kind;
    this.status = status;
    this.code = code;
  }

  /** Whether the same request may succeed later without being changed. */
  get retryable(): boolean {
    return this.kind !== 'refused';
  }
}

const SHOWN = 300;
const CREDENTIALS = 'set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD';

/** The error of an answer that is none of success. `error_code` and `message` are MLflow's, where the body has them. */
export function answerError({
  who,
  status,
  answer,
}: {
  /** Host and request, for the message. */
  who: string;
  status: number;
  answer: { error_code?: string | undefined; message?: string | undefined } | null;
}): MlflowError {
  const code = answer?.error_code ?? null;
  const said = `${code === null ? '' : ` ${code}`}${answer?.message === undefined ? '' : `: ${answer.message.slice(0, SHOWN)}`}`;
  if (status === 401) {
    return new MlflowError(`${who} did not accept the credentials (401): ${CREDENTIALS}`, {
      kind: 'credentials',
      status,
      code,
    });
  }
  if (status === 403) {
    return new MlflowError(`${who} does not permit this (403${said}): give its user the right to, or ${CREDENTIALS}`, {
      kind: 'credentials',
      status,
      code,
    });
  }
  if (status >= 300 && status < 400) {
    return new MlflowError(`${who} answered ${String(status)}: set MLFLOW_TRACKING_URI to where it redirects`, {
      kind: 'failing',
      status,
    });
  }
  if (status >= 500 || status === 429) {
    return new MlflowError(`${who} answered ${String(status)}${said}`, { kind: 'failing', status, code });
  }
  if (code === null) {
    return new MlflowError(
      `${who} answered ${String(status)}, and not as MLflow does: is MLFLOW_TRACKING_URI that of a tracking server?`,
      { kind: 'failing', status },
    );
  }
  return new MlflowError(`${who} answered ${String(status)}${said}`, { kind: 'refused', status, code });
}
