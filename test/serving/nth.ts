/** The element that a test relies on. @throws Error when there is none. */
export function nth<T>(values: readonly T[] | undefined, index: number): T {
  const value = values?.[index];
  if (value === undefined)
    throw new Error(`expected an element ${String(index)}, got ${String(values?.length)} elements`);
  return value;
}
