import { categoryCounts, numericSample, type Profile } from '../profile/index.ts';
import { categories, distribution, type Bin } from './charts.ts';
import { html, type Html } from './html.ts';

const BINS = 40;
const CATEGORIES = 12;
/** Drawn between these ranks of both samples together, so that one outlier does not flatten the rest. */
const DRAWN = [0.005, 0.995] as const;

/** A column's distribution, old over new; a sentence where there is nothing to draw. */
export function columnChart(name: string, profile: Profile, reference: Profile | null): Html {
  const column = profile.columns[name];
  if (column === undefined || column.count === 0) return html`<p class="dim">no row has a value</p>`;
  const known = reference?.columns[name]?.kind === column.kind ? reference : null;
  if (column.kind === 'numeric') {
    const before = known === null ? null : numericSample(known, name);
    const now = numericSample(profile, name);
    if (now.length === 0) return html`<p class="dim">too few rows have a value: none of the sampled ones</p>`;
    return distribution(histogram(now, before), name);
  }
  return categories(topCategories(name, profile, known), name);
}

/** Equal bins over what both samples cover; what lies outside counts to the first and last bin. */
export function histogram(current: Float64Array, reference: Float64Array | null): Bin[] {
  const before = reference !== null && reference.length > 0 ? reference : null;
  const ends = [current, before].filter((sample) => sample !== null).map(range);
  const from = Math.min(...ends.map(([low]) => low));
  const to = Math.max(...ends.map(([, high]) => high));
  if (from === to) return [{ x1: from - 0.5, x2: from + 0.5, reference: before === null ? null : 1, current: 1 }];
  const width = (to - from) / BINS;
  const shares = (sample: Float64Array): number[] => {
    const counts = Array.from({ length: BINS }, () => 0);
    for (const value of sample) {
      const bin = Math.min(BINS - 1, Math.max(0, Math.floor((value - from) / width)));
      counts[bin] = (counts[bin] ?? 0) + 1;
    }
    return counts.map((count) => count / sample.length);
  };
  const [now, was] = [shares(current), before === null ? null : shares(before)];
  return now.map((share, bin) => ({
    x1: from + bin * width,
    x2: from + (bin + 1) * width,
    reference: was?.[bin] ?? null,
    current: share,
  }));
}

/** Lowest and highest value that is drawn, of a sorted sample. */
function range(sorted: Float64Array): [number, number] {
  const at = (rank: number): number => sorted[Math.round(rank * (sorted.length - 1))] ?? 0;
  return [at(DRAWN[0]), at(DRAWN[1])];
}

function topCategories(
  name: string,
  profile: Profile,
  reference: Profile | null,
): { value: string; reference: number | null; current: number }[] {
  const now = sharesOf(profile, name);
  const was = reference === null ? null : sharesOf(reference, name);
  const weight = (value: string): number => Math.max(now.get(value) ?? 0, was?.get(value) ?? 0);
  return [...new Set([...now.keys(), ...(was?.keys() ?? [])])]
    .toSorted((a, b) => weight(b) - weight(a) || a.localeCompare(b))
    .slice(0, CATEGORIES)
    .map((value) => ({
      value,
      reference: was === null ? null : (was.get(value) ?? 0),
      current: now.get(value) ?? 0,
    }));
}

function sharesOf(profile: Profile, name: string): Map<string, number> {
  const column = profile.columns[name];
  if (column === undefined || column.count === 0) return new Map();
  const rows = column.count + column.missing;
  return new Map(categoryCounts(profile, name).map(({ value, count }) => [value, count / rows]));
}
