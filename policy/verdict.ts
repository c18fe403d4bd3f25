/**
 * Why a decision was taken, in words and numbers. `code` is stable and machine-readable (`volume.min-ratio`), `message`
 * is a sentence for the operator that repeats the numbers that mattered.
 */
export interface Reason {
  code: string;
  message: string;
  numbers?: Record<string, number | string | null>;
}
