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
    eventTimeMs: eventTimeMs.optional(),
  })
  .strict()
  .superRefine(({ candidates }, context) => {
    const seen = new Set<string>();
    for (const [index, candidate] of candidates.entries()) {
      if (seen.has(candidate.id)) {
        context.addIssue({
          code: 'custom',
          path: ['candidates', index, 'id'],
          message: `"${candidate.id}" is listed twice`,
        });
      }
      seen.add(candidate.id);
    }
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

/** @throws RefusedRequest (400) with the field's path and what was expected there. */
export const parseRankRequest = (body: unknown): RankRequest => parse(rankSchema, body);
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
