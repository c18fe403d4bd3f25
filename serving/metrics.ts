import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** The gateway's own figures for Prometheus. Labels are lines, versions and arms: nothing of a user, nothing unbounded. */
export interface GatewayMetrics {
  register: Registry;
  rankRequests: Counter<'line' | 'version' | 'arm' | 'outcome'>;
  rankSeconds: Histogram<'line' | 'arm'>;
  canaryFallbacks: Counter<'line' | 'version'>;
  shadowDropped: Counter<'line' | 'version'>;
  feedback: Counter<'outcome'>;
  refused: Counter<'status'>;
}

/** Read when they are scraped. */
export interface ScrapedFigures {
  eventLogDropped: number;
  eventLogBuffered: number;
  postgresUp: boolean;
  lines: { line: string; epoch: number; leaseSecondsLeft: number; openRequests: number }[];
}

export function createMetrics(figures: () => ScrapedFigures): GatewayMetrics {
  const register = new Registry();
  collectDefaultMetrics({ register });
  const registers = [register];

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
    name: 'freshet_event_log_dropped_records',
    help: 'Impressions and feedback lost since the process started',
    registers,
    collect() {
      this.set(figures().eventLogDropped);
    },
  });
  new Gauge({
    name: 'freshet_event_log_buffered_records',
    help: 'Impressions and feedback not yet written',
    registers,
    collect() {
      this.set(figures().eventLogBuffered);
    },
  });

  return {
    register,
    rankRequests: new Counter({
      name: 'freshet_rank_requests_total',
      help: 'Answered rank requests; outcome is ok, fallback (stable answered for the canary) or degraded (the input order was kept, because stable failed)',
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
      help: 'Copies for a shadow that were given up because too many waited',
      labelNames: ['line', 'version'],
      registers,
    }),
    feedback: new Counter({
      name: 'freshet_feedback_events_total',
      help: 'Feedback events; outcome is accepted, duplicate or refused',
      labelNames: ['outcome'],
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
