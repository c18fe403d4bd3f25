/** Where set-up reports what it does: one line a step, nothing asked. */
export type Say = (line: string) => void;

/** Repeats a line with the time gone by while something long runs, so that nobody thinks it hangs. */
export async function sayEvery<T>({
  say,
  what,
  everyMs = 30_000,
  work,
}: {
  say: Say;
  what: string;
  everyMs?: number;
  work: Promise<T>;
}): Promise<T> {
  const startedAt = Date.now();
  const timer = setInterval(() => {
    say(`${what}: still at it after ${String(Math.round((Date.now() - startedAt) / 1_000))} s`);
  }, everyMs);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ');
  return error instanceof Error ? error.message : String(error);
}
