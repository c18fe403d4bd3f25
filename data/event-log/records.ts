/** One item of a served slate, as the gateway logs it. Times are Unix milliseconds on the line's event clock. */
export interface ImpressionRecord {
  /** The signature of the rank answer's token, a dot and the position: unique. */
  impressionId: string;
  requestId: string;
  line: string;
  userId: string;
  itemId: string;
  eventTimeMs: number;
  /** When the gateway took it. The writer moves it up to the time at which readers could first see it. */
  arrivedAtMs: number;
  position: number;
  version: number;
  arm: string;
  /** Probability with which the serving policy put this item at this position. */
  propensity: number;
  score: number;
  /** The numbers the model was fed: numeric as number, categorical as the decimal text of the 64-bit id, missing as null. */
  features: Record<string, number | string | null>;
}

export interface FeedbackRecord {
  impressionId: string;
  line: string;
  event: 'click' | 'dwell';
  /** Milliseconds for `dwell`. */
  value: number | null;
  eventTimeMs: number;
  arrivedAtMs: number;
}
