import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { LineConfig } from '../config/schema.ts';
import type { FeatureHash } from '../features/feature-id.ts';
import { isUnreachable, type Database } from '../store/database.ts';
import { leasedRoutes, type LeasedRoute } from '../store/leases.ts';
import { readLine } from '../store/lines.ts';
import { registerProcess, removeProcess, reportEpoch, touchProcess } from '../store/processes.ts';
import type { Route } from '../store/types.ts';
import type { RouteLoader } from './route-loader.ts';
import { readLineHeads, RouteAnnouncements, type LineHead } from './route-source.ts';
import { ServedLine, type ServedRoute } from './served-line.ts';
import type { StableCache } from './stable-cache.ts';

export interface RouteFollowerOptions {
  db: Database;
  databaseUrl: string;
  processId: string;
  /** The lines to serve; all when left out. */
  lines: readonly string[] | undefined;
  pollEveryMs: number;
  loader: RouteLoader;
  cache: StableCache;
  hash: FeatureHash;
  logger: Logger;
}

/** So that requests for lines that do not exist do not keep Postgres busy. */
const MIN_BETWEEN_SEARCHES_MS = 100;

/** A route on its way to being served: its versions are loading. */
interface Pending {
  route: Route;
  leaseUntilMs: number;
  ready: Promise<void>;
}

/**
 * Keeps the lines of this process on the routes in Postgres: registers, polls (and listens), loads and warms what a route
 * names, adopts it, and reports its epoch once no request routed under an older one is open.
 *
 * Without Postgres the adopted routes stay, and their leases run out; after a restart, the cached stables are served.
 */
export class RouteFollower {
  readonly lines = new Map<string, ServedLine>();
  /** One life of this process. */
  readonly boot = randomUUID();
  readonly #options: RouteFollowerOptions;
  readonly #announcements: RouteAnnouncements;
  readonly #registered = new Set<ServedLine>();
  readonly #pending = new Map<ServedLine, Pending>();
  readonly #told = new Map<string, string>();
  #missing: readonly string[] = [];
  #connected = true;
  #started = false;
  #closed = false;
  #timer: NodeJS.Timeout | undefined;
  #polling: Promise<void> | null = null;
  #again = false;
  #polledAtMs = -Infinity;

  constructor(options: RouteFollowerOptions) {
    this.#options = options;
    this.#announcements = new RouteAnnouncements({
      databaseUrl: options.databaseUrl,
      onMoved: () => {
        this.#schedule(0);
      },
    });
  }

  /** Whether the last poll reached Postgres. */
  get connected(): boolean {
    return this.#connected;
  }

  get started(): boolean {
    return this.#started;
  }

  /**
   * Reads the routes once, loads what they name and goes on following them.
   *
   * @throws DatabaseUnreachable when there is neither Postgres nor a cached stable.
   */
  async start(): Promise<void> {
    const first = this.#poll();
    this.#polling = first.catch(() => undefined);
    try {
      await first;
      await Promise.all([...this.#pending.values()].map(({ ready }) => ready));
      await Promise.all([...this.lines.values()].map((line) => this.#report(line)));
    } catch (error) {
      if (!isUnreachable(error)) throw explained(error);
      this.#lost(error);
      await this.#serveCached(error);
    } finally {
      this.#polling = null;
    }
    this.#started = true;
    this.#schedule(this.#options.pollEveryMs);
  }

  /** Why this process should not get traffic yet; empty when it should. */
  unready(): string[] {
    if (!this.#started) return ['starting'];
    const waiting = [...this.lines.values()].filter(
      (line) => line.served === null || (line.served.source === 'postgres' && line.reportedEpoch === 0),
    );
    return [
      ...waiting.map(({ line }) => this.#told.get(line) ?? `line "${line}" has not reported its first epoch`),
      ...this.#missing.map((line) => `line "${line}" is not applied: freshet schedule apply`),
    ];
  }

  /** The line of that name; polls once more for one that was applied a moment ago. */
  async find(name: string): Promise<ServedLine | undefined> {
    const justPolled = performance.now() - this.#polledAtMs < MIN_BETWEEN_SEARCHES_MS;
    if (!this.lines.has(name) && this.#started && this.#connected && !justPolled) await this.#cycle();
    const line = this.lines.get(name);
    if (line?.served === null) await this.#pending.get(line)?.ready;
    return line;
  }

  /** Stops following and takes this process off the list of those that route. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#polling;
    await this.#announcements.close();
    await Promise.all([...this.#pending.values()].map(({ ready }) => ready));
    const { db, logger } = this.#options;
    for (const line of this.#registered) {
      await removeProcess(db, this.#process(line)).catch((error: unknown) => {
        logger.warn(
          { line: line.line, err: error },
          'could not unregister: rollbacks wait until this process is stale',
        );
      });
    }
  }

  #process(line: ServedLine): { processId: string; line: string; boot: string } {
    return { processId: this.#options.processId, line: line.line, boot: this.boot };
  }

  #schedule(delayMs: number): void {
    if (this.#closed || !this.#started) return;
    if (this.#polling !== null) {
      this.#again ||= delayMs === 0;
      return;
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#cycle(), delayMs);
  }

  #cycle(): Promise<void> {
    if (this.#polling !== null) {
      this.#again = true;
      return this.#polling;
    }
    this.#again = false;
    this.#polling = this.#poll()
      .then(
        () => {
          if (!this.#connected) this.#options.logger.info('Postgres is back: following the routes again');
          this.#connected = true;
        },
        (error: unknown) => {
          this.#lost(error);
        },
      )
      .finally(() => {
        this.#polling = null;
        this.#schedule(this.#again ? 0 : this.#options.pollEveryMs);
      });
    return this.#polling;
  }

  #lost(error: unknown): void {
    if (this.#connected) {
      this.#options.logger.error(
        { err: error },
        'the routes can not be read: serving on, candidates until their lease ends',
      );
    }
    this.#connected = false;
  }

  async #poll(): Promise<void> {
    this.#polledAtMs = performance.now();
    const { db, lines: wanted } = this.#options;
    this.#announcements.ensure();
    const heads = await readLineHeads(db, wanted);
    this.#missing = (wanted ?? []).filter((line) => !heads.some((head) => head.line === line));
    for (const head of heads) await this.#meet(head);
    const touchedAtMs = performance.now();
    for (const line of this.lines.values()) await this.#touch(line);
    // Before the query, so that what is left of a lease is never overestimated.
    const readAtMs = performance.now();
    for (const leased of await leasedRoutes(db, [...this.lines.keys()])) {
      const line = this.lines.get(leased.route.line);
      if (line !== undefined) this.#follow({ line, leased, touchedAtMs, readAtMs });
    }
    for (const line of this.lines.values()) void this.#report(line);
  }

  /** Takes up a line's config and event clock. A line whose config can not be read does not hold up the others. */
  async #meet({ line: name, configHash, eventMs, rate }: LineHead): Promise<void> {
    const { db } = this.#options;
    const readAtMs = performance.now();
    let line = this.lines.get(name);
    if (line?.configHash !== configHash) {
      try {
        const { config } = await readLine(db, name);
        if (line === undefined) {
          line = this.#add(config, configHash);
        } else {
          line.setConfig(config, configHash);
          if (line.served !== null) await this.#remember(line, line.served);
        }
      } catch (error) {
        if (isUnreachable(error)) throw error;
        this.#tell(name, error);
      }
    }
    if (line !== undefined) line.eventClock = eventMs === null ? null : { eventMs, readAtMs, rate: rate ?? 0 };
  }

  /** Says that this process routes the line, before it reads the route: from then on rollbacks wait for it. */
  async #touch(line: ServedLine): Promise<void> {
    const { db } = this.#options;
    if (this.#registered.has(line) && (await touchProcess(db, this.#process(line)))) return;
    await registerProcess(db, this.#process(line));
    this.#registered.add(line);
    line.reportedEpoch = 0;
  }

  #follow(read: { line: ServedLine; leased: LeasedRoute; touchedAtMs: number; readAtMs: number }): void {
    const { line, leased, touchedAtMs, readAtMs } = read;
    const { route, leaseMs } = leased;
    // Rollbacks stop waiting for a process that was not seen for a lease, so no lease is used longer than that.
    const leaseUntilMs =
      leaseMs === null ? -Infinity : Math.min(readAtMs + leaseMs, touchedAtMs + line.config.canary.lease);
    const { served } = line;
    const pending = this.#pending.get(line);
    if (served?.source === 'postgres' && served.route.epoch === route.epoch) {
      served.leaseUntilMs = leaseUntilMs;
      const beside = [served.canary, served.holdback, served.shadow];
      if (beside.every((candidate) => candidate?.kind !== 'failed')) return;
    } else if (served !== null && !namesCandidates(route, served.route)) {
      // What the new route no longer names stops now, not when the rest of the new route is loaded.
      served.leaseUntilMs = -Infinity;
    }
    if (pending?.route.epoch === route.epoch) {
      pending.leaseUntilMs = leaseUntilMs;
    } else {
      const next: Pending = { route, leaseUntilMs, ready: Promise.resolve() };
      this.#pending.set(line, next);
      next.ready = this.#prepare(line, next);
    }
  }

  async #prepare(line: ServedLine, pending: Pending): Promise<void> {
    const { route } = pending;
    try {
      const versions = await this.#options.loader.load(route);
      // Overtaken: a newer route was read while this one was loading.
      if (this.#pending.get(line) !== pending) return;
      this.#pending.delete(line);
      for (const candidate of [versions.canary, versions.holdback, versions.shadow]) {
        if (candidate?.kind === 'failed') this.#tell(`${route.line}: beside the stable`, candidate.reason);
      }
      const served: ServedRoute = { ...versions, leaseUntilMs: pending.leaseUntilMs };
      line.adopt(served);
      this.#told.delete(line.line);
      await this.#remember(line, served);
      await this.#report(line);
    } catch (error) {
      this.#tell(line.line, error);
      if (this.#pending.get(line) !== pending) return;
      this.#pending.delete(line);
      // It answers nothing, so it answers nothing by an older route: no rollback has to wait for it.
      if (line.served === null) await this.#reportEpoch(line, route.epoch);
    }
  }

  async #remember(line: ServedLine, served: ServedRoute): Promise<void> {
    const { config, configHash } = line;
    const { epoch, salt, at } = served.route;
    const { version, modelSha256, features } = served.stable.spec;
    try {
      await this.#options.cache.save({
        config,
        configHash,
        epoch,
        salt,
        at,
        stable: { version, modelSha256, features: [...features] },
      });
    } catch (error) {
      this.#tell(`${line.line} cache`, error);
    }
  }

  async #report(line: ServedLine): Promise<void> {
    const epoch = line.settledEpoch();
    if (epoch === null || line.served?.source !== 'postgres') return;
    await this.#reportEpoch(line, epoch);
    this.#trim();
  }

  async #reportEpoch(line: ServedLine, epoch: number): Promise<void> {
    if (epoch === line.reportedEpoch || !this.#registered.has(line)) return;
    try {
      if (await reportEpoch(this.#options.db, { ...this.#process(line), epoch })) line.reportedEpoch = epoch;
      else this.#registered.delete(line);
    } catch {
      // The next poll reports it; whoever waits for it waits for this process's lease at most.
    }
  }

  #trim(): void {
    const lines = [...this.lines.values()];
    if (this.#pending.size > 0 || lines.some((line) => line.settledEpoch() === null)) return;
    this.#options.loader.trim(lines.flatMap(({ served }) => (served === null ? [] : [served])));
  }

  /** Without Postgres at the start: the stables that an earlier start served. */
  async #serveCached(cause: unknown): Promise<void> {
    const { cache, loader, logger, lines: wanted } = this.#options;
    const { lines, problems } = await cache.load();
    for (const cached of lines.filter(({ config }) => wanted?.includes(config.line) ?? true)) {
      const { config, configHash } = cached;
      try {
        const served = await loader.loadCached(cached);
        this.#add(config, configHash).adopt(served);
        logger.warn({ line: config.line, version: served.route.stable }, 'serving the cached stable: Postgres is gone');
      } catch (error) {
        problems.push(messageOf(error));
      }
    }
    if (this.lines.size > 0) return;
    const cached =
      problems.length === 0 ? 'nothing is cached' : `what is cached can not be served (${problems.join('; ')})`;
    throw new Error(`${messageOf(cause)}. There is nothing to serve until then: ${cached}`, { cause });
  }

  #add(config: LineConfig, configHash: string): ServedLine {
    const { hash } = this.#options;
    const line: ServedLine = new ServedLine({ config, configHash, hash, onSettled: () => void this.#report(line) });
    this.lines.set(line.line, line);
    return line;
  }

  /** Logs a problem once, not at each poll. */
  #tell(about: string, error: unknown): void {
    const message = messageOf(error);
    if (this.#told.get(about) === message) return;
    this.#told.set(about, message);
    this.#options.logger.error({ about }, message);
  }
}

function namesCandidates(route: Route, { canary, shadow }: Route): boolean {
  const named = [route.stable, route.canary, route.shadow];
  return (canary === null || named.includes(canary)) && (shadow === null || named.includes(shadow));
}

function explained(error: unknown): unknown {
  const noTable = error instanceof Error && 'code' in error && error.code === '42P01';
  return noTable
    ? new Error(
        `the database has no Freshet tables (${error.message}): run "freshet up" once, or correct DATABASE_URL`,
        { cause: error },
      )
    : error;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
