import type { Feature } from '../config/schema.ts';
import type { FeatureHash } from '../features/feature-id.ts';
import { createFeaturizer, type Featurizer, type FeatureRows } from '../features/featurizer.ts';
import { inputOrderScores } from '../scoring/input-order.ts';
import { openThreadedModel, type Scoring } from '../scoring/threaded-model.ts';
import type { ArtifactStore } from '../store/artifacts.ts';
import { INPUT_ORDER_VERSION } from '../store/types.ts';

/** What is needed to load a version; frozen when the version was registered. */
export interface VersionSpec {
  line: string;
  version: number;
  modelSha256: string | null;
  features: readonly Feature[];
}

/** A version that is loaded and warm. */
export interface LoadedVersion {
  spec: VersionSpec;
  featurizer: Featurizer;
  /** @throws ModelError; ModelTimeout after `withinMs`. */
  score(rows: FeatureRows, withinMs: number): Promise<Scoring>;
  /** For how long the oldest request that waits for it has been waiting, in ms. */
  waitingMs(): number;
}

interface Entry {
  loading: Promise<LoadedVersion>;
  close: () => Promise<void>;
  /** `performance.now()`; NaN unless it failed. */
  failedAtMs: number;
}

/** A load that failed is tried again no sooner than this. */
const RETRY_AFTER_MS = 5_000;

/** The versions this process holds in memory, each loaded once and in a thread of its own. */
export class ModelPool {
  readonly #entries = new Map<string, Entry>();
  readonly #artifacts: ArtifactStore;
  readonly #hash: FeatureHash;
  readonly #keep: number;
  /** By spec: versions that are fed alike share the rows of a request. */
  readonly #featurizers = new Map<string, WeakRef<Featurizer>>();

  /** @param options.keep how many versions stay loaded, routed ones included; routed ones stay however many they are. */
  constructor(options: { artifacts: ArtifactStore; hash: FeatureHash; keep: number }) {
    this.#artifacts = options.artifacts;
    this.#hash = options.hash;
    this.#keep = options.keep;
  }

  /** The version, loaded and warmed if it was not. @throws Error that names the version and what to do. */
  async load(spec: VersionSpec): Promise<LoadedVersion> {
    const key = keyOf(spec);
    let entry = this.#entries.get(key);
    if (entry !== undefined && performance.now() - entry.failedAtMs > RETRY_AFTER_MS) entry = undefined;
    entry ??= this.#open(spec);
    // The most recently used stand last.
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.loading;
  }

  /** Lets the least recently used versions go, down to what is kept. `routed` are never let go. */
  trim(routed: readonly VersionSpec[]): void {
    const pinned = new Set(routed.map(keyOf));
    for (const [key, entry] of this.#entries) {
      if (this.#entries.size <= this.#keep) return;
      if (pinned.has(key)) continue;
      this.#entries.delete(key);
      void entry.close();
    }
  }

  holds(spec: VersionSpec): boolean {
    return this.#entries.has(keyOf(spec));
  }

  async close(): Promise<void> {
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    await Promise.all(entries.map((entry) => entry.close()));
  }

  #open(spec: VersionSpec): Entry {
    const loading = this.#opened(spec);
    const entry: Entry = {
      loading,
      failedAtMs: NaN,
      close: () =>
        loading.then(
          (version) => version.close(),
          () => undefined,
        ),
    };
    loading.catch(() => {
      entry.failedAtMs = performance.now();
    });
    return entry;
  }

  async #opened(spec: VersionSpec): Promise<LoadedVersion & { close(): Promise<void> }> {
    const featurizer = this.#featurizer(spec.features);
    if (spec.version === INPUT_ORDER_VERSION)
      return { ...inputOrder(spec, featurizer), close: () => Promise.resolve() };
    const title = `version ${String(spec.version)} of "${spec.line}"`;
    if (spec.modelSha256 === null) throw new Error(`${title} has no model in the registry: register it again`);
    const { modelSha256 } = spec;
    const model = await openThreadedModel({
      title,
      features: spec.features,
      path: (measure) => this.#artifacts.path(modelSha256, measure),
    });
    return {
      spec,
      featurizer,
      score: (rows, withinMs) => model.score(rows, withinMs),
      waitingMs: () => model.waitingMs(),
      close: () => model.close(),
    };
  }

  #featurizer(features: readonly Feature[]): Featurizer {
    const key = JSON.stringify(features);
    let featurizer = this.#featurizers.get(key)?.deref();
    if (featurizer === undefined) {
      featurizer = createFeaturizer(features, this.#hash);
      this.#featurizers.set(key, new WeakRef(featurizer));
    }
    return featurizer;
  }
}

function inputOrder(spec: VersionSpec, featurizer: Featurizer): LoadedVersion {
  const score = (rows: FeatureRows): Promise<Scoring> =>
    Promise.resolve({ scores: inputOrderScores(rows.count), runMs: 0 });
  return { spec, featurizer, score, waitingMs: () => 0 };
}

const keyOf = ({ line, version, modelSha256 }: VersionSpec): string =>
  `${line}/${String(version)}/${modelSha256 ?? ''}`;
