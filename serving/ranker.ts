import type { Logger } from 'pino';
import { FeatureError } from '../features/featurizer.ts';
import { assignArm, userPoint } from '../policy/assignment.ts';
import { inputOrderScores } from '../scoring/input-order.ts';
import { INPUT_ORDER_VERSION } from '../store/types.ts';
import type { HealthSums } from './health-sums.ts';
import type { LoadShedder } from './load-shedder.ts';
import type { GatewayMetrics } from './metrics.ts';
import type { LoadedVersion } from './model-pool.ts';
import { RequestFeatures } from './request-features.ts';
import { RefusedRequest, type RankRequest } from './requests.ts';
import type { Candidate, ServedLine, ServedRoute } from './served-line.ts';
import type { ShadowMirror } from './shadow-mirror.ts';
import type { SlateLog } from './slate-log.ts';
import { explores, rankedOrder, shuffledOrder } from './slate-order.ts';
import type { AnswerArm, Tokens } from './tokens.ts';

export interface RankAnswer {
  requestId: string;
  /** The version that answered. */
  version: number;
  /** The arm the user was assigned, also when another version had to answer. */
  arm: AnswerArm;
  epoch: number;
  /** An item's impression id is the token, a dot and the item's position. */
  token: string;
  items: { id: string; score: number; position: number }[];
}

export interface RankerOptions {
  sums: HealthSums;
  log: SlateLog;
  tokens: Tokens;
  metrics: GatewayMetrics;
  logger: Logger;
  /** How long a canary may take before stable answers. */
  canaryDeadlineMs: number;
  /** How long an answer may take in all, unless the request says less; then the input's order is answered. */
  deadlineMs: number;
  shedder: LoadShedder;
}

/** Scores of all candidates, by the version that gave them. */
interface Scored {
  version: number;
  scores: Float32Array;
  latencyMs: number;
  /** Of it, what the model itself took. */
  runMs: number;
  /** The version whose features were logged. */
  fed: LoadedVersion;
}

/** A request on its way through. */
interface Ranking {
  request: RankRequest;
  features: RequestFeatures;
  line: ServedLine;
  mirror: ShadowMirror;
  served: ServedRoute;
  eventTimeMs: number;
  /** `performance.now()` */
  startedMs: number;
}

type Outcome = 'ok' | 'fallback' | 'degraded';

/**
 * Answers rank requests: assigns the arm, scores, falls back, orders, logs, counts, and hands a copy to the shadow. A
 * canary never costs an answer, nor does the version of the holdback; nor does a stable version that fails: the input's order is kept, and counted.
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
    const { served } = open;
    const eventTimeMs = line.eventTimeMs(request.eventTimeMs);
    const features = new RequestFeatures(request);
    try {
      this.#shed(served.stable);
      const { answer, outcome } = await this.#answer({
        request,
        features,
        line,
        mirror,
        served,
        eventTimeMs,
        startedMs,
      });
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

  /** A stable that has answered nothing for a whole deadline hangs: that is answered, not shed. */
  #shed(stable: LoadedVersion): void {
    const { shedder, deadlineMs } = this.#options;
    const waitingMs = stable.waitingMs();
    if (waitingMs < deadlineMs && shedder.isTooLong(waitingMs)) throw new RefusedRequest(503, OVERLOADED);
  }

  async #answer(ranking: Ranking): Promise<{ answer: RankAnswer; outcome: Outcome }> {
    const { request, features, line, mirror, served } = ranking;
    const { route } = served;
    let arm: AnswerArm = explores(request.requestId, line.config.exploration.share)
      ? 'exploration'
      : assignArm({
          point: userPoint(request.userId, route.salt),
          route,
          canaryAllowed: line.leaseHolds(served),
        });

    const beside = arm === 'canary' ? served.canary : arm === 'holdback' ? served.holdback : null;
    let tried = beside === null ? null : await this.#tryBeside(ranking, beside);
    // Asked again, because the lease may have run out while the canary was scoring.
    if (arm === 'canary' && !line.leaseHolds(served)) {
      arm = 'stable';
      tried = null;
    }
    if (tried?.scored != null)
      return { answer: this.#record({ ...ranking, arm, scored: tried.scored }), outcome: 'ok' };

    const { scored, degraded } = await this.#scoreStable(ranking, arm);
    const answer = this.#record({ ...ranking, arm, scored });
    if (!degraded) {
      const { scores: stableScores, runMs: stableRunMs } = scored;
      const { requestId, limit } = request;
      mirror.offer({ served, requestId, limit, features, stableScores, stableRunMs });
    }
    if (tried !== null) this.#countFallback(served, arm, tried.latencyMs);
    return { answer, outcome: degraded ? 'degraded' : tried === null ? 'ok' : 'fallback' };
  }

  /** Asks the canary, or the version of the holdback. Whatever goes wrong in here is its error and stable's answer. */
  async #tryBeside(ranking: Ranking, beside: Candidate): Promise<{ scored: Scored | null; latencyMs: number }> {
    const { canaryDeadlineMs, logger } = this.#options;
    const startedMs = performance.now();
    try {
      if (beside.kind !== 'loaded') return { scored: null, latencyMs: 0 };
      // Half of the time at most: stable must still be able to answer.
      const withinMs = Math.min(canaryDeadlineMs, this.#leftMs(ranking) / 2);
      const scored = await score({ ...ranking, version: beside.version, withinMs });
      return { scored, latencyMs: scored.latencyMs };
    } catch (error) {
      logger.debug({ line: ranking.line.line, err: error }, 'a version beside the stable failed: stable answers');
      return { scored: null, latencyMs: performance.now() - startedMs };
    }
  }

  async #scoreStable(ranking: Ranking, arm: AnswerArm): Promise<{ scored: Scored; degraded: boolean }> {
    const { features, line, served } = ranking;
    const { stable } = served;
    const startedMs = performance.now();
    try {
      const scored = await score({ ...ranking, version: stable, withinMs: this.#leftMs(ranking) });
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
      const scores = inputOrderScores(features.count);
      return { scored: { version: INPUT_ORDER_VERSION, scores, latencyMs: 0, runMs: 0, fed: stable }, degraded: true };
    }
  }

  /** Whole milliseconds that are left of the request's deadline, one at least. */
  #leftMs({ request, startedMs }: Ranking): number {
    const deadlineMs = Math.min(request.deadlineMs ?? Infinity, this.#options.deadlineMs);
    return Math.max(1, Math.ceil(deadlineMs - (performance.now() - startedMs)));
  }

  #countFallback({ route }: ServedRoute, arm: AnswerArm, latencyMs: number): void {
    const { line, epoch } = route;
    const version = (arm === 'canary' ? route.canary : route.holdbackVersion) ?? NaN;
    this.#options.sums.failed({ line, version, arm, epoch }, { atMs: Date.now(), latencyMs });
    if (arm === 'canary') this.#options.metrics.canaryFallbacks.inc({ line, version: String(version) });
  }

  /** Orders and cuts the slate, signs it, logs it and counts it. */
  #record(input: Ranking & { arm: AnswerArm; scored: Scored }): RankAnswer {
    const { request, features, line, served, arm, scored, eventTimeMs } = input;
    const { requestId, userId, candidates, limit } = request;
    const { sums, log, tokens } = this.#options;
    const { epoch } = served.route;
    const { version, fed } = scored;
    // With what the line's config names and this version is not fed: the next version finds it in the log.
    const logged = [line.unfedFeatures(fed.spec), fed.featurizer].map((featurizer) => {
      return { featurizer, rows: features.rowsFor(featurizer) };
    });
    const order =
      arm === 'exploration'
        ? shuffledOrder(requestId, candidates.length).slice(0, limit)
        : rankedOrder(scored.scores, limit);
    const items = order.map((candidate, position) => {
      return { id: candidates[candidate]?.id ?? '', score: scored.scores[candidate] ?? NaN, position };
    });
    const answeredAtMs = Date.now();
    const scores = items.map(({ score }) => score);
    const token = tokens.sign({ line: line.line, requestId, version, arm, epoch, answeredAtMs, eventTimeMs, scores });

    const variant = { line: line.line, version, arm, epoch };
    sums.answered(variant, { atMs: answeredAtMs, latencyMs: scored.latencyMs, scores });
    log.appendSlate({
      head: {
        ...{ requestId, line: line.line, userId, version, arm, eventTimeMs },
        arrivedAtMs: line.arrivalTimeMs(eventTimeMs),
        // Shuffled uniformly, each candidate is as likely as any other at a position; else the order is certain.
        propensity: arm === 'exploration' ? 1 / candidates.length : 1,
      },
      token,
      itemIds: items.map(({ id }) => id),
      scores,
      candidates: order,
      features: logged,
    });
    return { requestId, version, arm, epoch, token, items };
  }
}

export const OVERLOADED =
  'more requests than this gateway can answer in time: try again in a moment, or another gateway';

async function score(input: { features: RequestFeatures; version: LoadedVersion; withinMs: number }): Promise<Scored> {
  const { features, version, withinMs } = input;
  const rows = features.rowsFor(version.featurizer);
  const startedMs = performance.now();
  const scoring = await version.score(rows, withinMs);
  return { version: version.spec.version, ...scoring, latencyMs: performance.now() - startedMs, fed: version };
}
