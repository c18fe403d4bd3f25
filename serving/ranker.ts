import type { Logger } from 'pino';
import type { EventLogWriter } from '../data/event-log/writer.ts';
import { FeatureError, type FeatureRows, type LoggedFeatures, type RawFeatures } from '../features/featurizer.ts';
import { assignArm, userPoint } from '../policy/assignment.ts';
import { inputOrderScores } from '../scoring/input-order.ts';
import { INPUT_ORDER_VERSION } from '../store/types.ts';
import type { HealthSums } from './health-sums.ts';
import type { GatewayMetrics } from './metrics.ts';
import type { LoadedVersion } from './model-pool.ts';
import { RefusedRequest, type RankRequest } from './requests.ts';
import type { ServedLine, ServedRoute } from './served-line.ts';
import type { ShadowMirror } from './shadow-mirror.ts';
import { explores, rankedOrder, shuffledOrder } from './slate-order.ts';
import type { AnswerArm, Tokens } from './tokens.ts';

export interface RankAnswer {
  requestId: string;
  /** The version that answered. */
  version: number;
  /** The arm the user was assigned, also when another version had to answer. */
  arm: AnswerArm;
  epoch: number;
  items: { id: string; score: number; position: number; impressionId: string }[];
}

export interface RankerOptions {
  sums: HealthSums;
  log: EventLogWriter;
  tokens: Tokens;
  metrics: GatewayMetrics;
  logger: Logger;
  /** How long a canary may take before stable answers. */
  canaryDeadlineMs: number;
  /** How long stable may take before the input's order is answered. */
  stableDeadlineMs: number;
}

/** Scores of all candidates, by the version that gave them. */
interface Scored {
  version: number;
  scores: Float32Array;
  latencyMs: number;
  features: (candidate: number) => LoggedFeatures;
}

type Outcome = 'ok' | 'fallback' | 'degraded';

/**
 * Answers rank requests: assigns the arm, scores, falls back, orders, logs, counts, and hands a copy to the shadow. A
 * canary never costs an answer; nor does a stable version that fails: the input's order is kept, and counted.
 */
export class Ranker {
  readonly #options: RankerOptions;
  /** Routes whose stable failed: said once each, counted each time. */
  readonly #failing = new WeakSet<ServedRoute>();

  constructor(options: RankerOptions) {
    this.#options = options;
  }

  /**
   * @throws RefusedRequest 400 for values of the wrong type, 503 before the line has a route.
   */
  async rank(request: RankRequest, { line, mirror }: { line: ServedLine; mirror: ShadowMirror }): Promise<RankAnswer> {
    if (request.eventTimeMs !== undefined && line.config.clock !== 'replay') {
      const message = 'eventTimeMs: only lines whose clock is "replay" take the time from the request; leave it out';
      throw new RefusedRequest(400, message, 'eventTimeMs');
    }
    const startedMs = performance.now();
    const open = line.open();
    if (open === null)
      throw new RefusedRequest(503, `line "${line.line}" has no version loaded yet: try again in a moment`);
    try {
      const { answer, outcome } = await this.#answer({ request, line, mirror, served: open.served });
      const { rankRequests, rankSeconds } = this.#options.metrics;
      const { arm, version } = answer;
      rankRequests.inc({ line: line.line, version: String(version), arm, outcome });
      rankSeconds.observe({ line: line.line, arm }, (performance.now() - startedMs) / 1_000);
      return answer;
    } catch (error) {
      if (error instanceof FeatureError) throw new RefusedRequest(400, error.message, error.path);
      throw error;
    } finally {
      open.done();
    }
  }

  async #answer(input: {
    request: RankRequest;
    line: ServedLine;
    mirror: ShadowMirror;
    served: ServedRoute;
  }): Promise<{ answer: RankAnswer; outcome: Outcome }> {
    const { request, line, mirror, served } = input;
    const { route } = served;
    const eventTimeMs = line.eventTimeMs(request.eventTimeMs);
    let arm: AnswerArm = explores(request.requestId, line.config.exploration.share)
      ? 'exploration'
      : assignArm({
          point: userPoint(request.userId, route.salt),
          route,
          canaryAllowed: line.leaseHolds(served),
        });

    let outcome: Outcome = 'ok';
    let scored: Scored | null = null;
    let canaryMs: number | null = null;
    if (arm === 'canary') {
      const tried = await this.#tryCanary({ request, line, served });
      // Asked again, because the lease may have run out while the canary was scoring.
      if (!line.leaseHolds(served)) arm = 'stable';
      else if (tried.scored === null) canaryMs = tried.latencyMs;
      else scored = tried.scored;
    }
    if (scored === null) {
      const stable = await this.#scoreStable({ request, line, served, arm });
      scored = stable.scored;
      outcome = stable.degraded ? 'degraded' : canaryMs === null ? 'ok' : 'fallback';
      if (!stable.degraded) {
        const { scores: stableScores, latencyMs: stableLatencyMs } = scored;
        mirror.offer({ served, requestId: request.requestId, raw: rawOf(request), stableScores, stableLatencyMs });
      }
    }
    if (canaryMs !== null) this.#countCanaryFailure(served, canaryMs);
    return { answer: this.#record({ request, line, served, arm, scored, eventTimeMs }), outcome };
  }

  /** Whatever goes wrong in here is the canary's error and stable's answer. */
  async #tryCanary(input: { request: RankRequest; line: ServedLine; served: ServedRoute }): Promise<{
    scored: Scored | null;
    latencyMs: number;
  }> {
    const { served, line } = input;
    const { canary } = served;
    const startedMs = performance.now();
    try {
      if (canary?.kind !== 'loaded') return { scored: null, latencyMs: 0 };
      const { version } = canary;
      const scored = await this.#score({ ...input, version, withinMs: this.#options.canaryDeadlineMs });
      return { scored, latencyMs: scored.latencyMs };
    } catch (error) {
      this.#options.logger.debug({ line: line.line, err: error }, 'the canary failed: stable answers');
      return { scored: null, latencyMs: performance.now() - startedMs };
    }
  }

  async #scoreStable(input: { request: RankRequest; line: ServedLine; served: ServedRoute; arm: AnswerArm }): Promise<{
    scored: Scored;
    degraded: boolean;
  }> {
    const { request, line, served, arm } = input;
    const { stable } = served;
    const startedMs = performance.now();
    try {
      const scored = await this.#score({ request, line, version: stable, withinMs: this.#options.stableDeadlineMs });
      return { scored, degraded: false };
    } catch (error) {
      if (error instanceof FeatureError) throw error;
      if (!this.#failing.has(served)) {
        this.#failing.add(served);
        this.#options.logger.error(
          { line: line.line, err: error },
          'the stable version failed: the input order is kept',
        );
      }
      const variant = { line: line.line, version: stable.spec.version, arm, epoch: served.route.epoch };
      this.#options.sums.failed(variant, { atMs: Date.now(), latencyMs: performance.now() - startedMs });
      const features = featuresOf({ line, version: stable, raw: rawOf(request) });
      const scores = inputOrderScores(request.candidates.length);
      return {
        scored: { version: INPUT_ORDER_VERSION, scores, latencyMs: 0, features: features.logged },
        degraded: true,
      };
    }
  }

  async #score(input: {
    request: RankRequest;
    line: ServedLine;
    version: LoadedVersion;
    withinMs: number;
  }): Promise<Scored> {
    const { request, line, version, withinMs } = input;
    const { rows, logged } = featuresOf({ line, version, raw: rawOf(request) });
    const startedMs = performance.now();
    const scores = await version.score(rows, withinMs);
    return { version: version.spec.version, scores, latencyMs: performance.now() - startedMs, features: logged };
  }

  #countCanaryFailure({ route }: ServedRoute, latencyMs: number): void {
    const version = route.canary ?? NaN;
    const variant = { line: route.line, version, arm: 'canary', epoch: route.epoch } as const;
    this.#options.sums.failed(variant, { atMs: Date.now(), latencyMs });
    this.#options.metrics.canaryFallbacks.inc({ line: route.line, version: String(version) });
  }

  /** Orders and cuts the slate, signs it, logs it and counts it. */
  #record(input: {
    request: RankRequest;
    line: ServedLine;
    served: ServedRoute;
    arm: AnswerArm;
    scored: Scored;
    eventTimeMs: number;
  }): RankAnswer {
    const { request, line, served, arm, scored, eventTimeMs } = input;
    const { requestId, userId, candidates } = request;
    const { sums, log, tokens } = this.#options;
    const { epoch } = served.route;
    const { version } = scored;
    const order = arm === 'exploration' ? shuffledOrder(requestId, candidates.length) : rankedOrder(scored.scores);
    const slate = order.slice(0, request.limit).map((candidate) => ({
      candidate,
      id: candidates[candidate]?.id ?? '',
      score: scored.scores[candidate] ?? NaN,
    }));
    const answeredAtMs = Date.now();
    const scores = slate.map(({ score }) => score);
    const token = tokens.sign({ line: line.line, requestId, version, arm, epoch, answeredAtMs, eventTimeMs, scores });
    const items = slate.map(({ id, score }, position) => {
      return { id, score, position, impressionId: `${token}.${String(position)}` };
    });

    const variant = { line: line.line, version, arm, epoch };
    sums.answered(variant, { atMs: answeredAtMs, latencyMs: scored.latencyMs, scores });
    const logged = {
      ...{ requestId, line: line.line, userId, version, arm, eventTimeMs },
      arrivedAtMs: line.arrivalTimeMs(eventTimeMs),
      // Shuffled uniformly, each candidate is as likely as any other at a position; else the order is certain.
      propensity: arm === 'exploration' ? 1 / candidates.length : 1,
    };
    log.appendImpressions(
      items.map(({ id, impressionId, position, score }, index) => {
        const features = scored.features(slate[index]?.candidate ?? NaN);
        return { ...logged, impressionId, itemId: id, position, score, features };
      }),
    );
    return { requestId, version, arm, epoch, items };
  }
}

const rawOf = ({ user, context, candidates }: RankRequest): RawFeatures => ({ user, context, candidates });

/** What the version is fed, and what is logged: that, and the features of the line's config that it is not fed. */
function featuresOf(input: { line: ServedLine; version: LoadedVersion; raw: RawFeatures }): {
  rows: FeatureRows;
  logged: (candidate: number) => LoggedFeatures;
} {
  const { line, version, raw } = input;
  const { featurizer } = version;
  const rows = featurizer.featurize(raw);
  const unfed = line.unfedFeatures(version.spec);
  const unfedRows = unfed.featurize(raw);
  const logged = (candidate: number): LoggedFeatures => ({
    ...unfed.loggedFeatures(unfedRows, candidate),
    ...featurizer.loggedFeatures(rows, candidate),
  });
  return { rows, logged };
}
