import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { SlateLogStats } from './slate-log.ts';
import { registerVariantMetrics } from './variant-metrics.ts';
import type { Totals, TotalsVariant } from './variant-totals.ts';

/** The gateway's own figures for Prometheus. Labels are lines, versions and arms: nothing of a user, nothing unbounded. */
export interface GatewayMetrics {
  register: Registry;
  rankRequests: Counter<'line' | 'version' | 'arm' | 'outcome'>;
  rankSeconds: Histogram<'line' | 'arm'>;
  canaryFallbacks: Counter<'line' | 'version'>;
  shadowDropped: Counter<'line' | 'version'>;
  feedback: Counter<'outcome' | 'reason'>;
  refused: Counter<'status'>;
}

/** Read when they are scraped. */
export interface ScrapedFigures {
  eventLog: SlateLogStats;
  postgresUp: boolean;
  signingKeys: { key: string; use: 'sign' | 'accept'; fingerprint: string }[];
  /** The file of the signing keys can not be used as it is: those read before are in force. */
  keyFileBroken: boolean;
  lines: { line: string; epoch: number; leaseSecondsLeft: number; openRequests: number }[];
  variants: readonly Totals[];
}

export function createMetrics(figures: () => ScrapedFigures): GatewayMetrics {
  const register = new Registry();
  collectDefaultMetrics({ register });
  const registers = [register];
  registerVariantMetrics(register, () => figures().variants);

  new Gauge({
    name: 'freshet_route_epoch',
    help: 'Epoch of the route this gateway serves by',
    labelNames: ['line'],
    registers,
    collect() {
      for (const { line, epoch } of figures().lines) this.set({ line }, epoch);
    },
  });
  new Gauge({
    name: 'freshet_lease_seconds_left',
    help: 'Seconds for which the canary or shadow may still be served; 0 without a lease',
    labelNames: ['line'],
    registers,
    collect() {
      for (const { line, leaseSecondsLeft } of figures().lines) this.set({ line }, leaseSecondsLeft);
    },
  });
  new Gauge({
    name: 'freshet_open_requests',
    help: 'Rank requests that are routed and not answered yet',
    labelNames: ['line'],
    registers,
    collect() {
      for (const { line, openRequests } of figures().lines) this.set({ line }, openRequests);
    },
  });
  new Gauge({
    name: 'freshet_postgres_up',
    help: '1 when the last poll of the routes succeeded',
    registers,
    collect() {
      this.set(figures().postgresUp ? 1 : 0);
    },
  });
  new Gauge({
    name: 'freshet_signing_key',
    help: '1 for each key of rank answers: the one that signs, and those that are still or already accepted',
    labelNames: ['key', 'use', 'fingerprint'],
    registers,
    collect() {
      this.reset();
      for (const key of figures().signingKeys) this.set(key, 1);
    },
  });
  new Gauge({
    name: 'freshet_signing_key_file_broken',
    help: '1 while the file of the signing keys can not be used and the keys read before stay in force',
    registers,
    collect() {
      this.set(figures().keyFileBroken ? 1 : 0);
    },
  });
  new Gauge({
    name: 'freshet_event_log_dropped_records',
    help: 'Impressions and feedback lost since the process started, by reason',
    labelNames: ['reason'],
    registers,
    collect() {
      for (const [reason, records] of Object.entries(figures().eventLog.dropped)) this.set({ reason }, records);
    },
  });
  new Gauge({
    name: 'freshet_event_log_buffered_records',
    help: 'Impressions and feedback not yet written: waiting for the thread of the log, or unsealed with its writer',
    labelNames: ['place'],
    registers,
    collect() {
      const { waiting, unsealed } = figures().eventLog;
      this.set({ place: 'waiting' }, waiting);
      this.set({ place: 'unsealed' }, unsealed);
    },
  });

  return {
    register,
    rankRequests: new Counter({
      name: 'freshet_rank_requests_total',
      help: 'Answered rank requests; outcome is ok, fallback (stable answered for the canary or the holdback) or degraded (the input order was kept, because stable failed)',
      labelNames: ['line', 'version', 'arm', 'outcome'],
      registers,
    }),
    rankSeconds: new Histogram({
      name: 'freshet_rank_seconds',
      help: 'Time to answer a rank request, without reading and writing it',
      labelNames: ['line', 'arm'],
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5],
      registers,
    }),
    canaryFallbacks: new Counter({
      name: 'freshet_canary_fallbacks_total',
      help: 'Canary requests that stable answered, because the canary threw, hung, was not loaded or scored no probability',
      labelNames: ['line', 'version'],
      registers,
    }),
    shadowDropped: new Counter({
      name: 'freshet_shadow_dropped_total',
      help: 'Copies for a shadow that were given up: too many were open, or its lease did not hold',
      labelNames: ['line', 'version'],
      registers,
    }),
    feedback: new Counter({
      name: 'freshet_feedback_total',
      help: 'Feedback events; outcome is accepted, duplicate or refused, reason says why it was refused',
      labelNames: ['outcome', 'reason'],
      registers,
    }),
    refused: new Counter({
      name: 'freshet_refused_requests_total',
      help: 'Requests answered with a status of 400 or more',
      labelNames: ['status'],
      registers,
    }),
  };
}

/** Removes the series of a version that is no longer routed, so that they do not grow with each swap. */
export function forgetVariant(metrics: GatewayMetrics, { line, version: number, arm }: TotalsVariant): void {
  const version = String(number);
  for (const outcome of ['ok', 'fallback', 'degraded']) metrics.rankRequests.remove({ line, version, arm, outcome });
  if (arm === 'canary') metrics.canaryFallbacks.remove({ line, version });
  if (arm === 'shadow') metrics.shadowDropped.remove({ line, version });
}
