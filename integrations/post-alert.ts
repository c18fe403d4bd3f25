import axios from 'axios';

/** An alert that a service did not take. Its message carries neither the URL's path nor any key. */
export class DeliveryError extends Error {
  override readonly name = 'DeliveryError';
}

const TIMEOUT_MS = 5_000;
const SHOWN_ANSWER = 200;

/**
 * Posts JSON and resolves on a 2xx answer. Redirects are not followed: they would carry the alert elsewhere.
 *
 * @param secrets parts that must never be shown; the URL's path is always one.
 * @throws DeliveryError with the service, its host and what it answered.
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
  const refuse = (why: string): never => {
    const shown = hidden.reduce((text, secret) => text.replaceAll(secret, '[hidden]'), why);
    throw new DeliveryError(`${service} at ${host} did not take the alert: ${shown}`);
  };
  let answer: { status: number; data: unknown };
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
  if (answer.status < 200 || answer.status > 299) {
    refuse(`it answered ${String(answer.status)} ${JSON.stringify(String(answer.data).slice(0, SHOWN_ANSWER))}`);
  }
}
