import axios from 'axios';
import type { DeliveryFailure } from '../store/outbox.ts';

/** An alert that a service did not take. Its message carries neither the URL's path nor any key. */
export class DeliveryError extends Error implements DeliveryFailure {
  override readonly name = 'DeliveryError';
  readonly permanent: boolean;
  readonly retryAfterMs: number | null;

  constructor(message: string, { permanent, retryAfterMs }: DeliveryFailure) {
    super(message);
    this.permanent = permanent;
    this.retryAfterMs = retryAfterMs;
  }
}

const TIMEOUT_MS = 5_000;
const SHOWN_ANSWER = 200;
/** A service that asks for time without saying how much. */
const DEFAULT_RETRY_AFTER_MS = 30_000;
/** Of the 4xx those that speak of this try, not of the alert, the address or the key. */
const PASSING = new Set([408, 425, 429]);

/**
 * Posts JSON and resolves on a 2xx answer. Redirects are not followed: they would carry the alert elsewhere.
 *
 * @param secrets parts that must never be shown; the URL's path is always one.
 * @throws DeliveryError with the service, its host and what it answered. A 4xx is permanent, but for those that ask for
 * another try; 429 says how long to wait (`Retry-After` in seconds or as a date).
 */
export async function postAlert({
  service,
  url,
  body,
  secrets = [],
  timeoutMs = TIMEOUT_MS,
}: {
  service: string;
  url: string;
  body: unknown;
  secrets?: readonly string[];
  timeoutMs?: number;
}): Promise<void> {
  const { host, pathname, search } = new URL(url);
  const hidden = [url, `${pathname}${search}`, pathname, ...secrets].filter((secret) => secret.length > 1);
  const refuse = (why: string, failure: Partial<DeliveryFailure> = {}): never => {
    const shown = hidden.reduce((text, secret) => text.replaceAll(secret, '[hidden]'), why);
    const message = `${service} at ${host} did not take the alert: ${shown}`;
    throw new DeliveryError(message, { permanent: false, retryAfterMs: null, ...failure });
  };
  let answer: { status: number; data: unknown; headers: Record<string, unknown> };
  try {
    answer = await axios.post<unknown>(url, body, {
      timeout: timeoutMs,
      signal: AbortSignal.timeout(timeoutMs),
      maxRedirects: 0,
      responseType: 'text',
      validateStatus: () => true,
    });
  } catch (error) {
    // Not as a cause: an axios error carries the whole request, keys included.
    const slow = axios.isCancel(error) || (axios.isAxiosError(error) && error.code === 'ECONNABORTED');
    return refuse(
      slow ? `no answer within ${String(timeoutMs)} ms` : error instanceof Error ? error.message : String(error),
    );
  }
  const { status, data, headers } = answer;
  if (status >= 200 && status <= 299) return;
  const permanent = status >= 400 && status <= 499 && !PASSING.has(status);
  refuse(`it answered ${String(status)} ${JSON.stringify(String(data).slice(0, SHOWN_ANSWER))}`, {
    permanent,
    retryAfterMs: status === 429 ? retryAfterMs(headers['retry-after']) : null,
  });
}

function retryAfterMs(header: unknown): number {
  const text = typeof header === 'string' ? header.trim() : '';
  const ms = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) ? Math.max(1_000, ms) : DEFAULT_RETRY_AFTER_MS;
}
