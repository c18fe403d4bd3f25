import { z } from 'zod';

/** What the gateway accepts. Feature values are looked at by the featurizer, which knows the line's spec. */

export const MAX_CANDIDATES = 500;
export const MAX_FEEDBACK_EVENTS = 1_000;

const rawFeatures = z.record(z.string(), z.unknown());
const id = z.string().min(1).max(256);
const eventTimeMs = z.number().int().min(0).max(8_640_000_000_000_000);

const rankSchema = z
  .object({
    line: id,
    requestId: id,
    userId: id,
    user: rawFeatures.default({}),
    context: rawFeatures.default({}),
    candidates: z
      .array(z.object({ id, features: rawFeatures.default({}) }).strict())
      .min(1, 'expected at least one candidate')
      .max(MAX_CANDIDATES, `expected at most ${String(MAX_CANDIDATES)} candidates: rank the best of an earlier stage`),
    limit: z.number().int().min(1).optional(),
    /** How long the caller waits; the gateway's own deadline when left out or shorter. */
    deadlineMs: z.number().int().min(1).optional(),
    eventTimeMs: eventTimeMs.optional(),
  })
  .strict();

/**
 * The same as a JSON schema, which is compiled once and takes a tenth of the time. What it refuses is parsed again by
 * {@link parseRankRequest}, which says what is wrong.
 */
export const RANK_BODY_SCHEMA = z.toJSONSchema(rankSchema, {
  io: 'input',
  target: 'draft-7',
  override: ({ jsonSchema }) => {
    // Keys of JSON are strings.
    delete jsonSchema.propertyNames;
  },
});

const feedbackSchema = z
  .object({
    events: z
      .array(
        z
          .object({
            impressionId: z.string().min(1).max(8_192),
            event: z.enum(['click', 'dwell']),
            value: z.number().min(0).optional(),
            eventTimeMs: eventTimeMs.optional(),
          })
          .strict(),
      )
      .min(1, 'expected at least one event')
      .max(
        MAX_FEEDBACK_EVENTS,
        `expected at most ${String(MAX_FEEDBACK_EVENTS)} events: send the rest in further requests`,
      ),
  })
  .strict();

export type RankBody = z.input<typeof rankSchema>;
export type RankRequest = z.output<typeof rankSchema>;
export type FeedbackEvent = z.output<typeof feedbackSchema>['events'][number];

/** A request that can not be answered as it stands: HTTP status, message, and the field it is about. */
export class RefusedRequest extends Error {
  override readonly name = 'RefusedRequest';
  readonly statusCode: number;
  readonly path: string | null;

  constructor(statusCode: number, message: string, path: string | null = null) {
    super(message);
    this.statusCode = statusCode;
    this.path = path;
  }
}

const NOTHING = {};

/** @throws RefusedRequest (400) with the field's path and what was expected there. */
export function parseRankRequest(body: unknown): RankRequest {
  return refuseRepeated(parse(rankSchema, body));
}

/**
 * A body that {@link RANK_BODY_SCHEMA} accepts.
 *
 * @throws RefusedRequest (400) when a candidate is listed twice.
 */
export function acceptRankRequest(body: RankBody): RankRequest {
  body.user ??= NOTHING;
  body.context ??= NOTHING;
  for (const candidate of body.candidates) candidate.features ??= NOTHING;
  return refuseRepeated(body as RankRequest);
}

function refuseRepeated(request: RankRequest): RankRequest {
  const { candidates } = request;
  const ids = new Set<string>();
  for (const { id } of candidates) ids.add(id);
  if (ids.size === candidates.length) return request;
  const index = candidates.findIndex(({ id }, place) => candidates.findIndex((other) => other.id === id) < place);
  const path = `candidates[${String(index)}].id`;
  throw new RefusedRequest(400, `${path}: "${candidates[index]?.id ?? ''}" is listed twice`, path);
}

/** @throws RefusedRequest (400) with the field's path and what was expected there. */
export const parseFeedbackRequest = (body: unknown): { events: FeedbackEvent[] } => parse(feedbackSchema, body);

function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const path = pathText(issue?.path ?? []);
  const where = path === '' ? 'the request body' : path;
  throw new RefusedRequest(400, `${where}: ${issue?.message ?? 'not as expected'}`, path === '' ? null : path);
}

function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === 'number' ? `${text}[${String(part)}]` : text === '' ? String(part) : `${text}.${String(part)}`,
    '',
  );
}
