import { z } from 'zod';

/**
 * Names of segments, short: those that a writer numbered by its boot as ranges of numbers, others as they are. A quiet hour
 * of one gateway is 3,600 names or one range.
 */
export const segmentNamesSchema = z.object({
  /** By what stands before the number: first and last of each unbroken stretch. */
  numbered: z.record(z.string(), z.array(z.tuple([z.number().int(), z.number().int()]))),
  others: z.array(z.string()),
});
export type SegmentNames = z.output<typeof segmentNamesSchema>;

const NUMBERED = /^(.+-)(\d{8})\.ndjson$/;

export function packNames(names: Iterable<string>): SegmentNames {
  const numbers = new Map<string, number[]>();
  const others = new Set<string>();
  for (const name of names) {
    const [, stem, number] = NUMBERED.exec(name) ?? [];
    if (stem === undefined || number === undefined) {
      others.add(name);
      continue;
    }
    const found = numbers.get(stem) ?? [];
    found.push(Number(number));
    numbers.set(stem, found);
  }
  const stems = [...numbers].sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    numbered: Object.fromEntries(stems.map(([stem, found]) => [stem, stretches(found)])),
    others: [...others].sort(),
  };
}

/** Both together. */
export function mergeNames(a: SegmentNames, names: readonly string[]): SegmentNames {
  const added = packNames(names);
  const stems = new Set([...Object.keys(a.numbered), ...Object.keys(added.numbered)]);
  const both = [...stems].sort().map((stem) => {
    const parts = [...(a.numbered[stem] ?? []), ...(added.numbered[stem] ?? [])];
    return [stem, joined(parts)] as const;
  });
  return { numbered: Object.fromEntries(both), others: [...new Set([...a.others, ...added.others])].sort() };
}

/** A test of whether a name is among them. */
export function nameTest({ numbered, others }: SegmentNames): (name: string) => boolean {
  const otherNames = new Set(others);
  return (name) => {
    const [, stem, number] = NUMBERED.exec(name) ?? [];
    if (stem === undefined || number === undefined) return otherNames.has(name);
    if (!Object.hasOwn(numbered, stem)) return false;
    return (numbered[stem] ?? []).some(([first, last]) => first <= Number(number) && Number(number) <= last);
  };
}

function stretches(numbers: readonly number[]): [number, number][] {
  return joined(numbers.map((number) => [number, number]));
}

function joined(parts: readonly (readonly [number, number])[]): [number, number][] {
  const whole: [number, number][] = [];
  for (const [first, last] of parts.toSorted(([a], [b]) => a - b)) {
    const before = whole.at(-1);
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else whole.push([first, last]);
  }
  return whole;
}
