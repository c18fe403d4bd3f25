import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Logger } from 'pino';
import { checkSigningKeys, parseSigningKeys, type SigningKey } from './signing-keys.ts';

/** A file of keys, looked at again and again, so that a rotation needs no restart. */
export interface KeyFile {
  file: string;
  /** 1 s when left out. A change is in force after two looks. */
  checkEveryMs?: number;
}

const CHECK_EVERY_MS = 1_000;
/** More is some other file. */
const MAX_BYTES = 65_536;

/** What was found at one look. Two that are equal in a row are believed: the file may be written just now. */
type Found = { kind: 'text'; text: string } | { kind: 'unreadable'; problem: string };

/**
 * The keys in force. Those of a file are replaced when it changes, all at once, between two requests. A file that is
 * gone, empty or broken changes nothing: the keys stay, an error is logged, and `problem` says why.
 */
export class KeyRing {
  #keys: readonly SigningKey[];
  #problem: string | null = null;
  readonly #file: KeyFile | null;
  readonly #logger: Logger;
  #inForce = '';
  #last: Found | null = null;
  #openTo = 0;
  #timer: NodeJS.Timeout | undefined;

  private constructor(keys: readonly SigningKey[], { file, logger }: { file: KeyFile | null; logger: Logger }) {
    this.#keys = keys;
    this.#file = file;
    this.#logger = logger;
  }

  /** @throws Error that says what to do when there is no key, or the file can not be read or used. */
  static async open(setting: readonly SigningKey[] | KeyFile, logger: Logger): Promise<KeyRing> {
    if (!('file' in setting)) {
      checkSigningKeys(setting);
      return new KeyRing(setting, { file: null, logger });
    }
    const ring = new KeyRing([], { file: setting, logger });
    const found = await ring.#read();
    if (found.kind === 'unreadable') throw new Error(found.problem);
    ring.#keys = ring.#parse(found.text);
    ring.#inForce = found.text;
    return ring;
  }

  /** The first signs; all are accepted. */
  get keys(): readonly SigningKey[] {
    return this.#keys;
  }

  /** Why the file as it is now is not in force; null while it is. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Looks at the file from now on, and calls `onChange` with the keys that are in force after a change. */
  follow(onChange: (keys: readonly SigningKey[]) => void): void {
    if (this.#file === null) return;
    let looking = false;
    const look = async (): Promise<void> => {
      if (looking) return;
      looking = true;
      if (await this.look()) onChange(this.#keys);
      looking = false;
    };
    this.#timer = setInterval(() => void look(), this.#file.checkEveryMs ?? CHECK_EVERY_MS);
    this.#timer.unref();
  }

  /** Looks at the file once. @returns whether other keys are in force now. */
  async look(): Promise<boolean> {
    if (this.#file === null) return false;
    const found = await this.#read();
    const again = isSame(found, this.#last);
    this.#last = found;
    if (!again) return false;
    if (found.kind === 'unreadable') {
      this.#fail(found.problem);
      return false;
    }
    if (found.text === this.#inForce) {
      this.#recover();
      return false;
    }
    try {
      this.#use(this.#parse(found.text));
      this.#inForce = found.text;
      this.#recover();
      return true;
    } catch (error) {
      this.#fail((error as Error).message);
      return false;
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #use(keys: readonly SigningKey[]): void {
    const [signed] = this.#keys;
    const [signs, ...accepted] = keys;
    const names = accepted.map(({ id }) => id).join(', ');
    this.#logger.info({ signs: signs?.id, accepted: names }, 'the signing keys changed');
    if (signed !== undefined && !keys.some((key) => isSameKey(key, signed)))
      this.#logger.warn(
        { key: signed.id },
        'the key that signed until now is no longer accepted: clicks on what it signed are refused',
      );
    this.#keys = keys;
  }

  #fail(problem: string): void {
    if (this.#problem === problem) return;
    this.#problem = problem;
    this.#logger.error(
      { file: this.#file?.file },
      `${problem}. The keys read before stay in force until this is put right`,
    );
  }

  #recover(): void {
    if (this.#problem === null) return;
    this.#problem = null;
    this.#logger.info({ file: this.#file?.file }, 'the file of the signing keys is in order again');
  }

  #parse(text: string): SigningKey[] {
    try {
      return parseSigningKeys(text);
    } catch (error) {
      throw new Error(`FRESHET_TOKEN_KEYS_FILE (${this.#file?.file ?? ''}): ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  async #read(): Promise<Found> {
    const file = this.#file?.file ?? '';
    try {
      const { text, mode } = await readSmallFile(file);
      this.#watchMode(mode);
      return { kind: 'text', text };
    } catch (error) {
      return { kind: 'unreadable', problem: `FRESHET_TOKEN_KEYS_FILE (${file}): ${(error as Error).message}` };
    }
  }

  /** Told once for each way of being open. */
  #watchMode(mode: number): void {
    const others = mode & 0o077;
    if (others !== 0 && others !== this.#openTo)
      this.#logger.warn(
        { file: this.#file?.file, mode: (mode & 0o777).toString(8) },
        'others than its owner may use the file of the signing keys: who reads it can forge clicks; chmod 600',
      );
    this.#openTo = others;
  }
}

/** @throws Error that says what is wrong with it and what was expected. */
async function readSmallFile(path: string): Promise<{ text: string; mode: number }> {
  // Not blocking: a pipe would hold the start for ever.
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'there is no such file' : code === 'EACCES' ? 'it may not be read' : String(code);
    throw new Error(`${why}: expected a file of signing keys, as "freshet keys create --file F" makes one`);
  });
  try {
    const info = await handle.stat();
    if (!info.isFile()) throw new Error('it is not a file: expected one with the signing keys');
    if (info.size > MAX_BYTES)
      throw new Error(`it has ${String(info.size)} bytes: expected a few lines with signing keys`);
    return { text: await handle.readFile('utf8'), mode: info.mode };
  } finally {
    await handle.close();
  }
}

function isSame(a: Found, b: Found | null): boolean {
  if (a.kind === 'text') return b?.kind === 'text' && a.text === b.text;
  return b?.kind === 'unreadable' && a.problem === b.problem;
}

const isSameKey = (a: SigningKey, b: SigningKey): boolean => a.id === b.id && a.secret.equals(b.secret);
