/** Where two configs differ. A value that is left out is undefined. */
export interface ConfigDifference {
  /** `training.hidden`, `gate.slices[surface].tolerance`. Lists of things with names are compared by name. */
  path: string;
  before: unknown;
  after: unknown;
}

/** The differences of two JSON values by path, those of `before` in its order, then what only `after` has. */
export function configDifferences(before: unknown, after: unknown): ConfigDifference[] {
  return differences('', before, after);
}

function differences(path: string, before: unknown, after: unknown): ConfigDifference[] {
  const [left, right] = [partsOf(before), partsOf(after)];
  if (left === null || right === null || left.named !== right.named) {
    return canonical(before) === canonical(after) ? [] : [{ path, before, after }];
  }
  const keys = new Set([...left.parts.keys(), ...right.parts.keys()]);
  return [...keys].flatMap((key) => {
    const inner = left.named ? `${path}[${key}]` : path === '' ? key : `${path}.${key}`;
    return differences(inner, left.parts.get(key), right.parts.get(key));
  });
}

/** What a value is made of, if it is compared part by part: an object, or a list of things with names of their own. */
function partsOf(value: unknown): { named: boolean; parts: Map<string, unknown> } | null {
  if (typeof value !== 'object' || value === null) return null;
  if (!Array.isArray(value)) return { named: false, parts: new Map(Object.entries(value)) };
  const parts = new Map(value.flatMap((part: unknown) => (hasName(part) ? [[part.name, part] as const] : [])));
  return parts.size === value.length ? { named: true, parts } : null;
}

/** The same text for the same value, whatever the order of its keys. */
function canonical(value: unknown): string | undefined {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

function hasName(part: unknown): part is { name: string } {
  return typeof part === 'object' && part !== null && 'name' in part && typeof part.name === 'string';
}
