import type { Featurizer, FeatureRows, RawFeatures } from '../features/featurizer.ts';
import type { FeaturizedRows } from './slate-log.ts';

/** The rows of one request, made once for each feature spec that is needed. */
export class RequestFeatures {
  readonly #raw: RawFeatures;
  readonly #made: FeaturizedRows[] = [];

  constructor({ user, context, candidates }: RawFeatures) {
    this.#raw = { user, context, candidates };
  }

  get count(): number {
    return this.#raw.candidates.length;
  }

  /** @throws FeatureError for a value of the wrong type. */
  rowsFor(featurizer: Featurizer): FeatureRows {
    const known = this.#made.find((made) => made.featurizer === featurizer);
    if (known !== undefined) return known.rows;
    const rows = featurizer.featurize(this.#raw);
    this.#made.push({ featurizer, rows });
    return rows;
  }
}
