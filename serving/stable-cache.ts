import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { lineConfigSchema } from '../config/schema.ts';

/**
 * What a gateway needs to serve a line's stable version after a restart without Postgres. The model's bytes are in the
 * artifact store. A candidate is never cached: there is no lease to serve it by.
 */
const cachedStableSchema = z.object({
  config: lineConfigSchema,
  configHash: z.string(),
  epoch: z.number().int(),
  salt: z.string(),
  at: z.coerce.date(),
  stable: z.object({
    version: z.number().int(),
    modelSha256: z.string().nullable(),
    features: lineConfigSchema.shape.features.or(z.tuple([])),
  }),
});

export type CachedStable = z.output<typeof cachedStableSchema>;

export class StableCache {
  readonly #folder: string;
  readonly #written = new Map<string, string>();
  #last: Promise<void> = Promise.resolve();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Keeps a line's stable for the next start; writes only what changed. */
  save(cached: CachedStable): Promise<void> {
    const saved = this.#last.then(() => this.#write(cached));
    this.#last = saved.catch(() => undefined);
    return saved;
  }

  /** Every line that can be read; `problems` are files that can not. A folder that does not exist is empty. */
  async load(): Promise<{ lines: CachedStable[]; problems: string[] }> {
    const lines: CachedStable[] = [];
    const problems: string[] = [];
    for (const name of (await readdir(this.#folder).catch(() => [])).filter((file) => file.endsWith('.json')).sort()) {
      try {
        lines.push(cachedStableSchema.parse(JSON.parse(await readFile(join(this.#folder, name), 'utf8'))));
      } catch (error) {
        problems.push(
          `${join(this.#folder, name)} is not a cached stable: ${error instanceof Error ? error.message : String(error)}`,
        );
      }
    }
    return { lines, problems };
  }

  async #write(cached: CachedStable): Promise<void> {
    const { line } = cached.config;
    const text = JSON.stringify(cached);
    if (this.#written.get(line) === text) return;
    await mkdir(this.#folder, { recursive: true });
    const path = join(this.#folder, `${line}.json`);
    await writeFile(`${path}.tmp`, text);
    await rename(`${path}.tmp`, path);
    this.#written.set(line, text);
  }
}
