import type { Reason } from '../../policy/verdict.ts';
import type { SliceRows } from './bootstrap.ts';

/**
 * Bytes of JSON that slices may take of an evaluation, which travels through a workflow's history: with the rest of it they
 * stay below 150 kB.
 */
const MAX_BYTES = 130_000;
/** Of the figures of a measured part, with and without a champion; of the gaps of a slice; of a part that is counted only. */
const BYTES = { figures: 2_450, alone: 900, gaps: 2_100, counted: 110 } as const;

/**
 * The parts of as many slices as fit: first of those that the gate has rules for, then in the order given. The others are
 * notes, and cost no time.
 */
export function fitSlices(
  parts: readonly SliceRows[],
  { judged, sliceMinRows, hasChampion }: { judged: readonly string[]; sliceMinRows: number; hasChampion: boolean },
): { parts: SliceRows[]; notes: Reason[] } {
  const names = [...new Set(parts.map(({ slice }) => slice))];
  const first = names.filter((name) => judged.includes(name));
  const left = new Set<string>();
  let bytes = 0;
  for (const name of [...first, ...names.filter((other) => !judged.includes(other))]) {
    const size = sizeOf(
      parts.filter(({ slice }) => slice === name),
      { sliceMinRows, hasChampion },
    );
    if (bytes + size > MAX_BYTES) left.add(name);
    else bytes += size;
  }
  return {
    parts: parts.filter(({ slice }) => !left.has(slice)),
    notes: names.filter((name) => left.has(name)).map(leftOut),
  };
}

function sizeOf(
  parts: readonly SliceRows[],
  { sliceMinRows, hasChampion }: { sliceMinRows: number; hasChampion: boolean },
): number {
  const figures = hasChampion ? BYTES.figures : BYTES.alone;
  const measured = parts.filter(({ rows }) => rows.length >= sliceMinRows).length;
  const names = parts.reduce((sum, { slice, value }) => sum + Buffer.byteLength(JSON.stringify([slice, value])), 0);
  const counted = parts.length * BYTES.counted + names;
  return counted + measured * figures + (measured > 1 ? BYTES.gaps : 0);
}

function leftOut(slice: string): Reason {
  const message = `slice ${slice} is left out: with it the evaluation would be larger than a workflow can carry; fewer slices or values (evaluation.sliceMaxValues) fit, and those with a rule of the gate come first`;
  return { code: 'evaluation.slice.size', message, numbers: { slice } };
}
