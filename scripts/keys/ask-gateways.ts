import axios from 'axios';
import { fingerprintOf, type SigningKey } from '../../serving/signing-keys.ts';

const TIMEOUT_MS = 5_000;
const SAMPLE = /^freshet_signing_key\{(.*)\} 1$/gm;
const LABEL = /(\w+)="([^"]*)"/g;

/** What every gateway has to have in force. */
export interface WantedKeys {
  accepted: readonly SigningKey[];
  /** The one that has to sign; any when null. */
  signs: SigningKey | null;
}

/**
 * Asks gateways which keys they have in force, by their /metrics.
 *
 * @throws Error that names each gateway that did not answer, lacks a key (by id and fingerprint), or signs with another.
 */
export async function askGateways(urls: readonly string[], wanted: WantedKeys): Promise<void> {
  const problems = (await Promise.all(urls.map((url) => whatIsWrong(url, wanted)))).filter((found) => found !== null);
  if (problems.length > 0) throw new Error(`not every gateway has this file in force: ${problems.join('; ')}`);
}

async function whatIsWrong(url: string, { accepted, signs }: WantedKeys): Promise<string | null> {
  try {
    const address = new URL('/metrics', url).href;
    const { data } = await axios.get<string>(address, { timeout: TIMEOUT_MS, responseType: 'text' });
    const has = keysIn(data);
    if (has.size === 0) return `${url} says nothing of signing keys: is it a gateway?`;
    const lacking = accepted.filter((key) => !has.has(nameOf(key.id, fingerprintOf(key))));
    if (lacking.length > 0) return `${url} lacks ${lacking.map(({ id }) => id).join(', ')}`;
    if (signs === null || has.get(nameOf(signs.id, fingerprintOf(signs))) === 'sign') return null;
    return `${url} does not sign with ${signs.id} yet`;
  } catch (error) {
    return `${url} does not answer (${(error as Error).message})`;
  }
}

/** How each key is used, by id and fingerprint. */
function keysIn(metrics: string): Map<string, string> {
  const samples = [...metrics.matchAll(SAMPLE)].map(([, labels = '']) =>
    Object.fromEntries([...labels.matchAll(LABEL)].map(([, name = '', value = '']) => [name, value])),
  );
  return new Map(samples.map(({ key = '', fingerprint = '', use = '' }) => [nameOf(key, fingerprint), use]));
}

const nameOf = (id: string, fingerprint: string): string => `${id} ${fingerprint}`;
