import type { ColumnNames } from '../features/featurizer.ts';
import type { LoggedSlate } from './slate-protocol.ts';
import { impressionKeyOf } from './tokens.ts';

/** Writes the features of a row as JSON, piece by piece: a fifth of what `JSON.stringify` of an object would take. */
export interface FeatureText {
  /** Features of a row. */
  categorical: number;
  numeric: number;
  /** Adds the pieces of what `JSON.stringify` of {@link loggedRow} would be. */
  add(pieces: string[], row: { ids: BigInt64Array; dense: Float32Array; idsAt: number; denseAt: number }): void;
}

export function featureText({ categorical, numeric }: ColumnNames): FeatureText {
  const before = (name: string, index: number): string => `${index === 0 ? '' : ','}${JSON.stringify(name)}:`;
  const idNames = categorical.map((name, index) => `${before(name, index)}"`);
  const numberNames = numeric.map((name, index) => before(name, categorical.length + index));
  return {
    categorical: idNames.length,
    numeric: numberNames.length,
    add(pieces, { ids, dense, idsAt, denseAt }) {
      pieces.push('{');
      for (let column = 0; column < idNames.length; column++)
        pieces.push(idNames[column] ?? '', String(ids[idsAt + column]), '"');
      for (let column = 0; column < numberNames.length; column++) {
        const value = dense[denseAt + column] ?? NaN;
        pieces.push(numberNames[column] ?? '', Number.isNaN(value) ? 'null' : String(value));
      }
      pieces.push('}');
    },
  };
}

/**
 * The impressions of a slate as JSON, each up to its arrival time and the closing brace, which the log's writer adds.
 *
 * @param addFeatures adds the pieces of an item's features.
 */
export function impressionHeads(
  { head, token, itemIds, scores }: LoggedSlate,
  addFeatures: (pieces: string[], position: number) => void,
): string[] {
  const { arrivedAtMs: _, ...shared } = head;
  const middle = JSON.stringify(shared).slice(1, -1);
  return itemIds.map((itemId, position) => {
    const pieces = [
      ...['{"impressionId":', JSON.stringify(impressionKeyOf(token, position)), ',', middle],
      ...[',"itemId":', JSON.stringify(itemId), ',"position":', String(position)],
      ...[',"score":', JSON.stringify(scores[position] ?? NaN), ',"features":'],
    ];
    addFeatures(pieces, position);
    // One piece of memory: a text that was added up would keep all of its parts until it is written.
    return pieces.join('');
  });
}
