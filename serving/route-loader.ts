import { isUnreachable, type Queryable } from '../store/database.ts';
import type { Route } from '../store/types.ts';
import { readVersion } from '../store/versions.ts';
import type { LoadedVersion, ModelPool, VersionSpec } from './model-pool.ts';
import type { Candidate, ServedRoute } from './served-line.ts';
import type { CachedStable } from './stable-cache.ts';

/** Turns a route's version numbers into versions that can score. */
export class RouteLoader {
  readonly #db: Queryable;
  readonly #pool: ModelPool;
  /** Versions never change: each is read once while it is loaded. */
  readonly #specs = new Map<string, VersionSpec>();

  constructor({ db, pool }: { db: Queryable; pool: ModelPool }) {
    this.#db = db;
    this.#pool = pool;
  }

  /**
   * Loads and warms all that a route names. A version beside the stable that can not be loaded costs no answer: it
   * comes back as one that fails each request.
   *
   * @throws Error when the stable version can not be loaded, or Postgres is gone.
   */
  async load(route: Route): Promise<Omit<ServedRoute, 'leaseUntilMs'>> {
    const stable = await this.#version(route, route.stable);
    const canary = await this.#candidate(route, route.canary);
    const holdback = await this.#candidate(route, route.holdbackVersion);
    const shadow = await this.#candidate(route, route.shadow);
    return { route, source: 'postgres', stable, canary, holdback, shadow };
  }

  /** Loads a cached stable. @throws Error when its artifact is missing or broken. */
  async loadCached({ config, epoch, salt, at, stable }: CachedStable): Promise<ServedRoute> {
    const { line } = config;
    const route: Route = {
      ...{ line, epoch, salt, at, cycleId: null, stable: stable.version },
      ...{ canary: null, canaryShare: 0, holdback: 0, holdbackVersion: null, shadow: null, shadowShare: 0 },
      ...{ who: 'gateway', why: 'restarted without Postgres: the stable version it served last' },
    };
    const version = await this.#pool.load({ line, ...stable });
    const alone = { stable: version, canary: null, holdback: null, shadow: null };
    return { route, source: 'cache', ...alone, leaseUntilMs: -Infinity };
  }

  /** Lets go of versions that were not used for longest; those of `served` stay. */
  trim(served: readonly ServedRoute[]): void {
    this.#pool.trim(
      served.flatMap(({ stable, canary, holdback, shadow }) => {
        const candidates = [canary, holdback, shadow].filter((candidate) => candidate?.kind === 'loaded');
        return [stable.spec, ...candidates.map(({ version }) => version.spec)];
      }),
    );
    for (const [key, spec] of this.#specs) if (!this.#pool.holds(spec)) this.#specs.delete(key);
  }

  async #candidate(route: Route, version: number | null): Promise<Candidate | null> {
    if (version === null) return null;
    try {
      return { kind: 'loaded', version: await this.#version(route, version) };
    } catch (error) {
      if (isUnreachable(error)) throw error;
      return { kind: 'failed', version, reason: error instanceof Error ? error.message : String(error) };
    }
  }

  async #version({ line }: Route, version: number): Promise<LoadedVersion> {
    const key = `${line}/${String(version)}`;
    let spec = this.#specs.get(key);
    if (spec === undefined) {
      const { modelSha256, features } = await readVersion(this.#db, { line, version });
      spec = { line, version, modelSha256, features };
      this.#specs.set(key, spec);
    }
    return this.#pool.load(spec);
  }
}
