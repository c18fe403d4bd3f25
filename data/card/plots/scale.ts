/** From values to pixels. */
export interface Scale {
  (value: number): number;
  from: number;
  to: number;
}

/** A straight scale of [from, to] to the pixels [start, end]; values outside end at its ends. */
export function scale([from, to]: readonly [number, number], [start, end]: readonly [number, number]): Scale {
  const width = to - from;
  const place = (value: number): number =>
    width === 0 ? (start + end) / 2 : start + Math.min(1, Math.max(0, (value - from) / width)) * (end - start);
  return Object.assign(place, { from, to });
}

/** The range of all finite values, with a margin; around one value where they are the same. */
export function rangeOf(values: readonly number[], margin = 0.08): [number, number] {
  const known = values.filter((value) => Number.isFinite(value));
  if (known.length === 0) return [0, 1];
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const width = high - low || Math.abs(high) * 0.1 || 1;
  return [low - margin * width, high + margin * width];
}

/** Round values inside a range, about so many: steps of 1, 2 or 5 times a power of ten. */
export function ticks(from: number, to: number, about: number): number[] {
  const width = to - from;
  if (!(width > 0) || !Number.isFinite(width)) return [from];
  const power = 10 ** Math.floor(Math.log10(width / about));
  const step = [1, 2, 5, 10].map((times) => times * power).find((size) => width / size <= about) ?? 10 * power;
  const first = Math.ceil(from / step - 1e-9);
  const last = Math.floor(to / step + 1e-9);
  const digits = Math.min(20, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
  return Array.from({ length: last - first + 1 }, (_, index) => Number(((first + index) * step).toFixed(digits)));
}

const MINUTE = 60_000;
const STEPS = [
  ...[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30].map((seconds) => seconds * 1_000),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE),
  ...[1, 2, 3, 4, 6, 12, 24, 48, 7 * 24, 14 * 24, 28 * 24, 91 * 24, 365 * 24].map((hours) => hours * 60 * MINUTE),
];

/** Round moments (UTC) inside a range, at most so many, each with its text: the day where it begins or the range has days. */
export function timeTicks(fromMs: number, toMs: number, atMost: number): { atMs: number; text: string }[] {
  const step = STEPS.find((size) => (toMs - fromMs) / size <= atMost) ?? toMs - fromMs + 1;
  const found: { atMs: number; text: string }[] = [];
  for (let atMs = Math.ceil(fromMs / step) * step; atMs <= toMs; atMs += step) {
    const iso = new Date(atMs).toISOString();
    const day = iso.slice(5, 10);
    const time = step < 1_000 ? iso.slice(17, 23) : step < MINUTE ? iso.slice(11, 19) : iso.slice(11, 16);
    found.push({ atMs, text: step >= 24 * 60 * MINUTE || (time === '00:00' && step >= MINUTE) ? day : time });
  }
  return found;
}
