import type { LineConfig } from '../config/schema.ts';
import type { FeatureHash } from '../features/feature-id.ts';
import { createFeaturizer, type Featurizer } from '../features/featurizer.ts';
import type { Route } from '../store/types.ts';
import type { LoadedVersion, VersionSpec } from './model-pool.ts';

/** A version beside the stable that the route names: loaded, or why it could not be. */
export type Candidate =
  { kind: 'loaded'; version: LoadedVersion } | { kind: 'failed'; version: number; reason: string };

/** A route with everything that serving it needs. */
export interface ServedRoute {
  route: Route;
  /** `cache`: from before a restart, without Postgres; never has a candidate. */
  source: 'postgres' | 'cache';
  stable: LoadedVersion;
  canary: Candidate | null;
  /** The stable before the one that is watched; needs no lease. */
  holdback: Candidate | null;
  shadow: Candidate | null;
  /** Until when (`performance.now()`) the canary or shadow may be served. Moves with each renewal that is read. */
  leaseUntilMs: number;
}

/** A request that was routed and is not answered yet. */
export interface OpenRequest {
  served: ServedRoute;
  /** To be called once, when the answer is decided; the request counts as open until the answer is on its way. */
  done(): void;
}

/** The time of the data: `eventMs` at `readAtMs` (`performance.now()`), moving at `rate`. */
export interface EventClockReading {
  eventMs: number;
  readAtMs: number;
  rate: number;
}

/** One model line as this process serves it: its config, the route in force, and the requests that are open under it. */
export class ServedLine {
  readonly line: string;
  config: LineConfig;
  configHash: string;
  /** Null while nothing drives it: event time is now. */
  eventClock: EventClockReading | null = null;
  reportedEpoch = 0;
  #served: ServedRoute | null = null;
  readonly #hash: FeatureHash;
  readonly #open = new Map<ServedRoute, number>();
  #unfed = new WeakMap<VersionSpec, Featurizer>();
  readonly #onSettled: () => void;

  /** @param options.onSettled called when the last request routed under an older epoch is done. */
  constructor(options: { config: LineConfig; configHash: string; hash: FeatureHash; onSettled: () => void }) {
    this.line = options.config.line;
    this.config = options.config;
    this.configHash = options.configHash;
    this.#hash = options.hash;
    this.#onSettled = options.onSettled;
  }

  get served(): ServedRoute | null {
    return this.#served;
  }

  /** Routes all further requests by `served`. */
  adopt(served: ServedRoute): void {
    this.#served = served;
  }

  setConfig(config: LineConfig, configHash: string): void {
    this.config = config;
    this.configHash = configHash;
    this.#unfed = new WeakMap();
  }

  /** Opens a request under the route in force; null while there is none. */
  open(): OpenRequest | null {
    const served = this.#served;
    if (served === null) return null;
    this.#open.set(served, (this.#open.get(served) ?? 0) + 1);
    return {
      served,
      // In the event loop's next turn: what was decided in this one is on the socket by then, so no report overtakes it.
      done: () => {
        setImmediate(() => {
          this.#close(served);
        });
      },
    };
  }

  #close(served: ServedRoute): void {
    const left = (this.#open.get(served) ?? 1) - 1;
    if (left > 0) {
      this.#open.set(served, left);
      return;
    }
    this.#open.delete(served);
    if (served !== this.#served) this.#onSettled();
  }

  get openRequests(): number {
    return [...this.#open.values()].reduce((sum, count) => sum + count, 0);
  }

  /** The epoch in force when no request routed under another is open; else null. */
  settledEpoch(): number | null {
    const served = this.#served;
    if (served === null) return null;
    const older = [...this.#open.keys()].some((open) => open.route.epoch !== served.route.epoch);
    return older ? null : served.route.epoch;
  }

  /** Whether the candidate of a route may be served at this moment. */
  leaseHolds(served: ServedRoute): boolean {
    return performance.now() < served.leaseUntilMs;
  }

  /** The event time now; `given` is the request's own, which only replayed lines may carry. */
  eventTimeMs(given: number | undefined): number {
    return given ?? this.#clockMs() ?? Date.now();
  }

  /** When something that happened at event time `eventTimeMs` arrived here: never before it happened. */
  arrivalTimeMs(eventTimeMs: number): number {
    return Math.max(eventTimeMs, this.#clockMs() ?? (this.config.clock === 'replay' ? eventTimeMs : Date.now()));
  }

  /**
   * Features of the line's config that a version is not fed. They are logged as well, so that a next version that is fed
   * them finds them in the log.
   */
  unfedFeatures(spec: VersionSpec): Featurizer {
    let featurizer = this.#unfed.get(spec);
    if (featurizer === undefined) {
      const fed = new Set(spec.features.map(({ name }) => name));
      featurizer = createFeaturizer(
        this.config.features.filter(({ name }) => !fed.has(name)),
        this.#hash,
      );
      this.#unfed.set(spec, featurizer);
    }
    return featurizer;
  }

  #clockMs(): number | null {
    if (this.eventClock === null) return null;
    const { eventMs, readAtMs, rate } = this.eventClock;
    return Math.round(eventMs + (performance.now() - readAtMs) * rate);
  }
}
