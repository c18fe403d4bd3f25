import pino, { type Logger } from 'pino';
import { loadFeatureHash } from '../features/feature-id.ts';
import { openLocalArtifacts } from '../store/artifacts.ts';
import { openDatabase } from '../store/database.ts';
import { writeHealthSums } from '../store/health-sums.ts';
import { FeedbackTaker } from './feedback.ts';
import { HealthSums } from './health-sums.ts';
import { createHttpApi } from './http-api.ts';
import { KeyRing, type KeyFile } from './key-ring.ts';
import { LoadShedder } from './load-shedder.ts';
import { logEvents } from './log-events.ts';
import { createMetrics, forgetVariant, type GatewayMetrics } from './metrics.ts';
import { ModelPool } from './model-pool.ts';
import { Ranker } from './ranker.ts';
import { RefusedRequest } from './requests.ts';
import { RouteFollower } from './route-follower.ts';
import { RouteLoader } from './route-loader.ts';
import type { ServedLine } from './served-line.ts';
import { registerShadowMetrics } from './shadow-metrics.ts';
import { ShadowMirror } from './shadow-mirror.ts';
import { fingerprintOf, type SigningKey } from './signing-keys.ts';
import { openSlateLog, type SlateLog } from './slate-log.ts';
import { StableCache } from './stable-cache.ts';
import { createTokens } from './tokens.ts';
import { variantsOf, VariantTotals } from './variant-totals.ts';

export interface GatewayOptions {
  databaseUrl: string;
  artifactsRoot: string;
  logRoot: string;
  /** Where the last stable of each line is remembered, for a restart without Postgres. */
  cacheDir: string;
  host: string;
  /** 0 takes a free one. */
  port: number;
  /** Names this process to rollbacks and in the event log; the same after a restart, no other process's. */
  processId: string;
  /** The first signs; all are accepted. A file is read again when it changes. */
  keys: readonly SigningKey[] | KeyFile;
  /** The lines to serve; all when left out. */
  lines?: readonly string[];
  pollEveryMs?: number;
  flushEveryMs?: number;
  sealEveryMs?: number;
  canaryDeadlineMs?: number;
  /** How long an answer may take in all; then the input's order is answered. */
  deadlineMs?: number;
  /** A request that waits longer than this before it is worked on is refused with 503. */
  shedAfterMs?: number;
  /** Versions that stay loaded, routed ones included; routed ones stay however many they are. */
  keepVersions?: number;
  bodyLimitBytes?: number;
  logger?: Logger;
}

export interface Gateway {
  url: string;
  /** Stops accepting, answers what is open, writes the log and the sums, and unregisters. */
  close(): Promise<void>;
}

/** Longer than any request takes; connections that never sent one are cut by it as well. */
const CUT_CONNECTIONS_AFTER_MS = 4_000;

/**
 * Starts a gateway and resolves when it answers requests: every line's stable version is loaded and its epoch reported,
 * or, when Postgres can not be reached, the stables cached by an earlier start are served.
 *
 * @throws Error that says what to do: no key, the port in use, or neither Postgres nor anything cached.
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { databaseUrl, processId, pollEveryMs = 1_000, flushEveryMs = 1_000 } = options;
  const logger = options.logger ?? pino({ name: 'gateway', level: 'warn' }, pino.destination(2));
  const ring = await KeyRing.open(options.keys, logger);
  const tokens = createTokens(ring.keys);
  const hash = await loadFeatureHash();
  const db = openDatabase(databaseUrl, { max: 4, statementTimeoutMs: 5_000 });
  const artifacts = openLocalArtifacts(options.artifactsRoot);
  const pool = new ModelPool({ artifacts, hash, keep: options.keepVersions ?? 4 });
  const cache = new StableCache(options.cacheDir);
  const follower = new RouteFollower({
    db,
    databaseUrl,
    processId,
    lines: options.lines,
    pollEveryMs,
    loader: new RouteLoader({ db, pool }),
    cache,
    hash,
    logger,
  });
  const { lines } = follower;
  const totals = new VariantTotals({
    routed: () => [...lines.values()].flatMap(({ served }) => (served === null ? [] : variantsOf(served.route))),
    onForgotten: (variant) => {
      forgetVariant(metrics, variant);
    },
  });
  const sums = new HealthSums({
    totals,
    bucketOf: (line, atMs) => bucketStart(atMs, lines.get(line)?.config.health.bucket ?? 10_000),
    write: (rows) =>
      writeHealthSums(
        db,
        rows.map((row) => ({ ...row, processId, boot: follower.boot })),
      ),
  });
  const log = await openSlateLog({
    root: options.logRoot,
    processId,
    ...(options.sealEveryMs === undefined ? {} : { sealEveryMs: options.sealEveryMs }),
    eventNow: (line) => lines.get(line)?.arrivalTimeMs(0) ?? 0,
    tell: logEvents(logger),
  });
  const metrics = createMetrics(() => ({ ...figures({ log, follower, ring }), variants: totals.scrape(Date.now()) }));
  registerShadowMetrics(metrics.register, () => sums.shadowRows());
  const mirrors = new Map<ServedLine, ShadowMirror>();
  const { canaryDeadlineMs = 150, deadlineMs = 2_000, shedAfterMs = 500 } = options;
  const shedder = new LoadShedder({ maxQueueMs: shedAfterMs });
  let closing = false;
  const app = createHttpApi({
    ranker: new Ranker({ sums, log, tokens, metrics, logger, canaryDeadlineMs, deadlineMs, shedder }),
    feedback: new FeedbackTaker({ lines, sums, log, tokens, metrics }),
    metrics,
    async findLine(name) {
      const line = await follower.find(name);
      if (line === undefined)
        throw follower.started
          ? unknownLine(name)
          : new RefusedRequest(503, 'the gateway is starting: try again in a moment');
      return { line, mirror: mirrorOf({ line, mirrors, sums, metrics }) };
    },
    unready: () => (closing ? ['closing'] : follower.unready()),
    postgresUp: () => follower.connected,
    bodyLimitBytes: options.bodyLimitBytes ?? 4 * 1_048_576,
    shedder,
  });

  let flushing: Promise<void> = Promise.resolve();
  const flush = (): Promise<void> => {
    flushing = flushing
      .then(() => sums.flush(Date.now()))
      .catch((error: unknown) => {
        if (follower.connected)
          logger.warn({ err: error }, 'the health sums could not be written: they are kept and written later');
      });
    return flushing;
  };
  const flushTimer = setInterval(() => void flush(), flushEveryMs);
  ring.follow((keys) => {
    tokens.use(keys);
  });

  const close = async (): Promise<void> => {
    closing = true;
    await stopListening(app);
    clearInterval(flushTimer);
    ring.close();
    await Promise.all([...mirrors.values()].map((mirror) => mirror.close()));
    await Promise.all([log.close(), flush()]);
    await follower.close();
    await pool.close();
    await db.end();
  };

  try {
    const url = await listen(app, options);
    await follower.start();
    return { url, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Buckets are aligned to multiples of their width. */
function bucketStart(atMs: number, widthMs: number): number {
  return Math.floor(Math.floor(atMs / widthMs) * widthMs);
}

function mirrorOf(input: {
  line: ServedLine;
  mirrors: Map<ServedLine, ShadowMirror>;
  sums: HealthSums;
  metrics: GatewayMetrics;
}): ShadowMirror {
  const { line, mirrors, sums, metrics } = input;
  let mirror = mirrors.get(line);
  if (mirror === undefined) {
    mirror = new ShadowMirror({ line, sums, metrics });
    mirrors.set(line, mirror);
  }
  return mirror;
}

function figures({ log, follower, ring }: { log: SlateLog; follower: RouteFollower; ring: KeyRing }) {
  const lines = [...follower.lines.values()].flatMap(({ line, served, openRequests }) => {
    if (served === null) return [];
    const leaseSecondsLeft = Math.max(0, (served.leaseUntilMs - performance.now()) / 1_000);
    return [{ line, epoch: served.route.epoch, leaseSecondsLeft, openRequests }];
  });
  const signingKeys = ring.keys.map((key, place) => ({
    ...{ key: key.id, fingerprint: fingerprintOf(key) },
    use: place === 0 ? ('sign' as const) : ('accept' as const),
  }));
  const keys = { signingKeys, keyFileBroken: ring.problem !== null };
  return { eventLog: log.stats(), postgresUp: follower.connected, lines, ...keys };
}

function unknownLine(name: string): RefusedRequest {
  const message = `no model line "${name.slice(0, 80)}" here: apply its config with "freshet schedule apply", or correct the name`;
  return new RefusedRequest(404, message, 'line');
}

/** Connections that clients keep open are closed as they fall idle; one that stalls is cut after a while. */
async function stopListening(app: ReturnType<typeof createHttpApi>): Promise<void> {
  const sweep = setInterval(() => {
    app.server.closeIdleConnections();
  }, 50);
  const cut = setTimeout(() => {
    app.server.closeAllConnections();
  }, CUT_CONNECTIONS_AFTER_MS);
  try {
    await app.close();
  } finally {
    clearInterval(sweep);
    clearTimeout(cut);
  }
}

async function listen(app: ReturnType<typeof createHttpApi>, { host, port }: GatewayOptions): Promise<string> {
  try {
    return await app.listen({ host, port });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null;
    const where = `${host}:${String(port)}`;
    if (code === 'EADDRINUSE')
      throw new Error(
        `the gateway can not listen on ${where}: the port is in use. Stop what listens there, or set FRESHET_PORT`,
        { cause: error },
      );
    if (code === 'EACCES')
      throw new Error(`the gateway may not listen on ${where}: set FRESHET_PORT to one above 1023`, { cause: error });
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
      throw new Error(`the gateway can not listen on ${where}: FRESHET_HOST is no address of this machine`, {
        cause: error,
      });
    throw error;
  }
}
