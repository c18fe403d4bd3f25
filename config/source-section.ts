import { z } from 'zod';
import { duration } from './duration.ts';

const column = z.string().min(1).max(255);

const columns = {
  user: column.describe('The user, as text or number.'),
  time: column.describe('When the impression was shown: event time.'),
  arrivedAt: column
    .optional()
    .describe(
      'When readers could first see the row. Without it a row counts as arrived when it happened, and a stretch that was loaded late can not be told from one that was there.',
    ),
  impressionId: column
    .optional()
    .describe(
      'Unique for each row (for each list of candidates where there are lists). Without it: a hash of user, item, time and request.',
    ),
  requestId: column
    .optional()
    .describe('Rows of one request are never split between train and holdout. Without it each row is its own request.'),
  position: column.optional().describe('Place in the slate, from 0.'),
  score: column.optional().describe('What the serving model said; compared with the rescored value.'),
  version: column.optional().describe('Number of the version that answered.'),
  arm: column.optional(),
  propensity: column.optional().describe('Probability with which the item was put at its position.'),
  label: column
    .optional()
    .describe('0 or 1 (or false and true); becomes a click. Empty: not known, so no click until it is.'),
  labelAt: column
    .optional()
    .describe(
      'When the label or the dwell time became known: a snapshot taken before does not see it. Without it: the event time and `labelDelay`.',
    ),
  dwellMs: column.optional().describe('Milliseconds that the item was looked at; becomes a dwell.'),
};

const oneItem = {
  ...columns,
  item: column.describe('What was shown, as text or number.'),
};

const items = {
  ...columns,
  item: column.optional().describe('What was shown, as text or number; or `candidates`.'),
  candidates: column
    .optional()
    .describe(
      'A list of what was shown, one row for each: position from its order, other lists of the same length by element, the rest repeated.',
    ),
  clicked: column.optional().describe('With `candidates`: the list (or the one) of them that was clicked.'),
};

const feedbackColumns = z
  .object({
    impressionId: column.optional().describe('The impression, by its id; or `requestId` and `item`.'),
    requestId: column.optional(),
    item: column.optional(),
    event: column.optional().describe('`click` or `dwell`. Without it every row is a click.'),
    value: column.optional().describe('Milliseconds of a dwell.'),
    time: column.describe('When it happened.'),
    arrivedAt: column.optional().describe('When readers could first see it. Without it: when it happened.'),
  })
  .strict()
  .refine(
    ({ impressionId, requestId, item }) =>
      impressionId !== undefined || (requestId !== undefined && item !== undefined),
    'name the column "impressionId", or both "requestId" and "item": feedback must find its impression',
  );

const times = {
  timeUnit: z
    .enum(['ms', 's', 'us', 'timestamp'])
    .default('ms')
    .describe(
      'Of every time column that is a number: Unix milliseconds, seconds or microseconds. `timestamp`: text such as 2026-01-31 07:00:00. Columns of a timestamp type need nothing.',
    ),
  timeZone: z
    .string()
    .refine(isTimeZone, 'expected the name of a time zone, such as UTC or Europe/Copenhagen')
    .default('UTC')
    .describe('Of timestamps that carry no zone. UTC: the only one without an hour that comes twice a year.'),
  labelDelay: duration
    .default(0)
    .describe(
      'Event. Without `labelAt`: how long after its impression a label is known. 0: rows are written labelled.',
    ),
};

const format = {
  format: z.enum(['parquet', 'csv']).default('parquet'),
  delimiter: z
    .string()
    .length(1)
    .default(',')
    .describe('Of CSV files, which have a header, quote with " and double it inside.'),
};

const path = z
  .string()
  .min(1)
  .refine(
    (value) => !/^[a-z][a-z0-9+.-]*:\/\//i.test(value),
    'object storage can not be read yet: mount it, or copy the files, and give their path',
  )
  .describe('A file or a glob, such as /lake/impressions/**/*.parquet; `{data}` stands for FRESHET_DATA.');

const eventLog = z.object({ kind: z.literal('eventLog').describe("The gateways' own event log.") }).strict();

const lake = z
  .object({
    kind: z.literal('lake').describe('Parquet or CSV files.'),
    path,
    ...format,
    columns: z
      .object(items)
      .strict()
      .refine(
        ({ item, candidates }) => (item === undefined) !== (candidates === undefined),
        'name either the column "item" or the column "candidates" (a list of items)',
      )
      .refine(
        ({ candidates, clicked }) => clicked === undefined || candidates !== undefined,
        '"clicked" goes with "candidates"; with one item a row, name the column "label"',
      ),
    ...times,
    partitions: z
      .object({
        day: column.default('dt').describe('Folders `dt=2026-01-31` (or 20260131).'),
        hour: column.default('hour').describe('Folders `hour=07` below a day.'),
        margin: duration
          .default(86_400_000)
          .describe(
            'Event. Partitions this far around the wanted time are read too. 1d: folders named in another time zone, or by the day of arrival.',
          ),
      })
      .strict()
      .prefault({})
      .describe('Folders of the Hive layout outside the wanted time are not opened. Files without them always are.'),
    feedback: z
      .object({ path, ...format, columns: feedbackColumns })
      .strict()
      .optional()
      .describe('Labels that are kept apart from the impressions.'),
  })
  .strict()
  .superRefine((source, context) => {
    const { columns: named, format: written } = source;
    requireLabels([named.label, named.clicked, named.dwellMs, source.feedback], context);
    if (written === 'csv' && named.candidates !== undefined) {
      const message = 'CSV has no lists: write the files as Parquet, or one row for each candidate';
      context.addIssue({ code: 'custom', path: ['columns', 'candidates'], message });
    }
  });

const query = z
  .string()
  .min(1)
  .describe('One SELECT. `:from_ms` and `:to_ms` stand for the wanted event times in Unix ms.');

const postgres = z
  .object({
    kind: z.literal('postgres').describe('A query on a Postgres of yours.'),
    urlFrom: z
      .string()
      .regex(/^[A-Z_][A-Z0-9_]*$/, 'expected the name of an environment variable, such as SOURCE_URL')
      .describe('The environment variable that holds the address: a password is never written here.'),
    query,
    columns: z.object(oneItem).strict(),
    ...times,
    timeout: duration
      .default(600_000)
      .describe('Of each statement. 10m: a scan of a week may take minutes, a forgotten lock must not hold a cycle.'),
    feedback: z.object({ query, columns: feedbackColumns }).strict().optional(),
  })
  .strict()
  .superRefine((source, context) => {
    requireLabels([source.columns.label, source.columns.dwellMs, source.feedback], context);
  });

/** Where a line's impressions and labels come from. */
export const sourceSection = z.discriminatedUnion('kind', [eventLog, lake, postgres]).prefault({ kind: 'eventLog' });

export type LakeSourceConfig = z.output<typeof lake>;
export type PostgresSourceConfig = z.output<typeof postgres>;
/** The columns of impressions; a Postgres query has no lists. */
export type ImpressionColumns = LakeSourceConfig['columns'];
export type FeedbackColumns = z.output<typeof feedbackColumns>;
export type SourceTimes = Pick<LakeSourceConfig, 'timeUnit' | 'timeZone' | 'labelDelay'>;

function requireLabels(places: readonly unknown[], context: z.RefinementCtx): void {
  if (places.some((place) => place !== undefined)) return;
  const message =
    'nothing says what was clicked: name the column "label", "clicked" or "dwellMs", or a "feedback" table';
  context.addIssue({ code: 'custom', path: ['columns'], message });
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
