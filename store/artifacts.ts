import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';

export interface Artifact {
  sha256: string;
  bytes: number;
}

/** Files by content. What is in it never changes; what it hands out is what was put in, or an error. */
export interface ArtifactStore {
  put(content: Uint8Array): Promise<Artifact>;
  putFile(path: string): Promise<Artifact>;
  /** @throws ArtifactError when it is missing or damaged. */
  get(sha256: string): Promise<Uint8Array>;
  /**
   * A local path whose content was verified just now; not to be written to.
   *
   * @param measure reads a whole file; this thread does when left out.
   * @throws ArtifactError like `get`.
   */
  path(sha256: string, measure?: (path: string) => Promise<Artifact>): Promise<string>;
}

/** An artifact that can not be handed out. The message says which, where, and how to get it back. */
export class ArtifactError extends Error {
  override name = 'ArtifactError';
  readonly kind: 'missing' | 'damaged';
  readonly sha256: string;
  /** Where it was removed on purpose: what it was, when and why it went. */
  readonly removed: string | null;

  constructor(
    kind: 'missing' | 'damaged',
    {
      sha256,
      message,
      removed = null,
      cause,
    }: { sha256: string; message: string; removed?: string | null; cause?: unknown },
  ) {
    super(message, { cause });
    this.kind = kind;
    this.sha256 = sha256;
    this.removed = removed;
  }
}

/**
 * An artifact store in a local folder: `<root>/ab/abcdef...`, named by sha256. A file appears under its name only whole
 * and synced to disk, so a crash leaves nothing half written; putting a damaged artifact again mends it. Any number of
 * processes may share the folder.
 *
 * @param options.whyRemoved asked of what is missing: what it was, when and why it was removed; null when it was not.
 */
export function openLocalArtifacts(
  root: string,
  { whyRemoved = () => Promise.resolve(null) }: { whyRemoved?: (sha256: string) => Promise<string | null> } = {},
): ArtifactStore {
  const locate = (sha256: string): string => {
    if (!/^[0-9a-f]{64}$/.test(sha256)) {
      throw new Error(`"${sha256}" is not an artifact: expected a sha256 of 64 hexadecimal digits`);
    }
    return join(root, sha256.slice(0, 2), sha256);
  };

  const store = async (write: (temporary: string) => Promise<Artifact>): Promise<Artifact> => {
    const temporary = join(root, 'incoming', randomUUID());
    await mkdir(join(root, 'incoming'), { recursive: true });
    try {
      const artifact = await write(temporary);
      const target = locate(artifact.sha256);
      await mkdir(join(root, artifact.sha256.slice(0, 2)), { recursive: true });
      await sync(temporary);
      await rename(temporary, target);
      return artifact;
    } finally {
      await rm(temporary, { force: true });
    }
  };

  const verify = (sha256: string, actual: Artifact): void => {
    if (actual.sha256 === sha256) return;
    const found = `its content has sha256 ${actual.sha256} (${String(actual.bytes)} bytes)`;
    const message = `artifact ${sha256} is damaged: ${found} at ${locate(sha256)}. ${ADVICE}`;
    throw new ArtifactError('damaged', { sha256, message });
  };

  const found = async <T>(sha256: string, read: (path: string) => Promise<T>): Promise<T> => {
    const path = locate(sha256);
    try {
      return await read(path);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
      // Whoever misses it must learn that, even when nobody can be asked why.
      const removed = await whyRemoved(sha256).catch(() => null);
      const why = removed === null ? `expected ${path}` : removed;
      const message = `artifact ${sha256} is missing: ${why}. ${ADVICE}`;
      throw new ArtifactError('missing', { sha256, message, removed, cause: error });
    }
  };

  return {
    put: (content) =>
      store(async (temporary) => {
        const file = await open(temporary, 'wx', 0o444);
        try {
          await file.writeFile(content);
        } finally {
          await file.close();
        }
        return describe(content);
      }),
    putFile: (path) =>
      store(async (temporary) => {
        const meter = hashing();
        await pipeline(
          createReadStream(path),
          meter.stream,
          createWriteStream(temporary, { flags: 'wx', mode: 0o444 }),
        );
        return meter.result();
      }),
    async get(sha256) {
      const content = await found(sha256, (path) => readFile(path));
      verify(sha256, describe(content));
      return content;
    },
    async path(sha256, measure = measured) {
      const actual = await found(sha256, async (path) => {
        await stat(path);
        return measure(path);
      });
      verify(sha256, actual);
      return locate(sha256);
    },
  };
}

const ADVICE = 'Restore the file from a backup, or train the version again from its lineage';

function describe(content: Uint8Array): Artifact {
  return { sha256: createHash('sha256').update(content).digest('hex'), bytes: content.byteLength };
}

async function measured(path: string): Promise<Artifact> {
  const meter = hashing();
  await pipeline(createReadStream(path), meter.stream.resume());
  return meter.result();
}

/** A stream that passes bytes through and knows their hash once they are all through. */
function hashing(): { stream: Transform; result: () => Artifact } {
  const hash = createHash('sha256');
  let bytes = 0;
  const stream = new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      hash.update(chunk);
      bytes += chunk.byteLength;
      done(null, chunk);
    },
  });
  return { stream, result: () => ({ sha256: hash.digest('hex'), bytes }) };
}

async function sync(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
