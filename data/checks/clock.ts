import { quantile } from '../../policy/statistics.ts';
import { baselineHours, type Baseline } from './baseline-hours.ts';
import { freshRows, type CheckContext, type Finding } from './check.ts';
import { shiftOfProfile } from './clock-profile.ts';
import { HOUR_MS, hourName, hourTable, type HourlyRow } from './hours.ts';
import { ratio, span, whole } from './wording.ts';

/** Earlier hours that make a level. */
const LEAST = 6;
/** Fewer rows than this of an hour say nothing. */
const MIN_ROWS = 20;
/** Rows dated after the snapshot that may be chance. */
const MIN_FUTURE = 5;
/** A clock shifts all lags alike: the spread of an hour's lags stays as it was, give or take this. */
const SPREAD_MS = 120_000;
/** Zones differ by whole and half hours. */
const ZONE_STEP_MS = HOUR_MS / 2;
/** Where rows usually take longer, lags do not tell a clock from a slow load. */
const MAX_USUAL_MS = 600_000;
/** Rows that a zone dates back by up to a day come late into hours of before the window. */
const ZONE_HOURS = 24;
const LATE_SHARE = 0.01;

interface Fault {
  status: 'block' | 'warn';
  says: string;
}

interface Lags {
  p50Ms: number;
  p95Ms: number;
  /** Between the two; 95 of 100 earlier hours had less. */
  spreadMs: number;
  beforeEvent: number;
}

/**
 * Event times are told by clocks that are right: no rows of the future, none that arrived before they happened, no jump of
 * the time between event and arrival (by whole hours: a time zone), no daily profile that fits only when it is shifted.
 * Where earlier hours were so, too, it is no jump.
 */
export function checkClock(context: CheckContext): Finding {
  const { config, manifest } = context;
  const { maxFuture, maxBeforeEvent, minShift, minProfileHours } = config.checks.clock;
  const table = hourTable(manifest);
  const late = manifest.counts.lateIncluded > LATE_SHARE * freshRows(manifest) ? ZONE_HOURS : 0;
  const judged = Array.from({ length: Math.min(table.known, table.window.length + late) }, (_, back) => table.at(back));
  const hours = judged.filter(({ rows }) => rows >= MIN_ROWS);
  const beforeMs = manifest.windowStartMs - late * HOUR_MS;
  const lags = lagsOf(baselineHours(context, { beforeMs, least: LEAST }));
  const profile = shiftOfProfile(table, { seasonMs: config.snapshot.season, minHours: minProfileHours });

  const { future } = manifest.counts;
  const futureShare = future / Math.max(1, freshRows(manifest));
  // On a line so thin that no hour says anything, all of them together may.
  const thin = hours.length === 0;
  const counted = thin ? together(judged) : hours;
  const early = counted.toSorted((a, b) => earlyShare(b) - earlyShare(a))[0];
  const earlyLimit = Math.min(0.95, (lags?.beforeEvent ?? 0) + maxBeforeEvent);
  const faults: Fault[] = [];
  if (future > 0) faults.push(futureFault({ future, share: futureShare, maxFuture }));
  if (early !== undefined && earlyShare(early) > earlyLimit && early.beforeEvent >= MIN_FUTURE) {
    faults.push({
      status: 'block',
      says:
        `${whole(early.beforeEvent)} of ${whole(early.rows)} rows of ${thin ? 'the fresh hours' : hourName(early.startMs)} arrived before they happened (${ratio(earlyShare(early))}, at most ` +
        `${ratio(earlyLimit)} expected): a clock that runs ahead, or a time zone`,
    });
  }
  const jump = lags === null ? null : lagFault(hours, { lags, minShift });
  if (jump !== null) faults.push(jump);
  if (profile?.decisive === true) {
    faults.push({
      status: 'block',
      says: `the hours' rows follow the seasons before only when moved by ${String(profile.shiftHours)} h: a time zone`,
    });
  }

  const numbers: Finding['numbers'] = {
    ...{ future, futureShare, highestBeforeEvent: early === undefined ? null : earlyShare(early) },
    ...{ usualLagMs: lags?.p50Ms ?? null, usualLagP95Ms: lags?.p95Ms ?? null },
    ...{ highestLagMs: highest(hours, 'lagP50Ms'), highestLagP95Ms: highest(hours, 'lagP95Ms') },
    profileShiftHours: profile?.shiftHours ?? null,
  };
  const threshold = { maxFuture, maxBeforeEvent, minShift, minProfileHours };
  const [first] = faults.toSorted((a, b) => Number(b.status === 'block') - Number(a.status === 'block'));
  if (first !== undefined) {
    const told = faults.map(({ says }) => says).join('; ');
    const advice =
      first.status === 'block'
        ? '. Times decide what trains: set the clock or the zone right, and load the rows again'
        : '';
    return { status: first.status, numbers, threshold, message: `${told}${advice}` };
  }
  const usual = thin
    ? `no hour of the fresh window has ${whole(MIN_ROWS)} rows, so the time until arrival was not compared`
    : lags === null
      ? 'there are too few earlier hours to compare the time until arrival with'
      : `rows arrive ${span(lags.p50Ms)} after their event as before (95 % within ${span(lags.p95Ms)})`;
  const message = `no rows of the future, none to speak of that arrived before they happened, and ${usual}`;
  return { status: 'pass', numbers, threshold, message };
}

function futureFault({ future, share, maxFuture }: { future: number; share: number; maxFuture: number }): Fault {
  return {
    status: future >= MIN_FUTURE && share > maxFuture ? 'block' : 'warn',
    says: `${whole(future)} rows are dated after the snapshot, ${ratio(share)} of the fresh rows, at most ${ratio(maxFuture)} expected: a clock that runs ahead, or a time zone`,
  };
}

function lagsOf(baseline: Baseline | null): Lags | null {
  const hours = (baseline?.hours ?? []).filter(({ lagP50Ms, lagP95Ms }) => lagP50Ms !== null && lagP95Ms !== null);
  if (hours.length < LEAST) return null;
  const at = (q: number, of: (hour: HourlyRow) => number): number =>
    quantile(
      hours.map(of).toSorted((a, b) => a - b),
      q,
    );
  return {
    p50Ms: at(0.5, (hour) => hour.lagP50Ms ?? 0),
    p95Ms: at(0.5, (hour) => hour.lagP95Ms ?? 0),
    spreadMs: at(0.95, (hour) => (hour.lagP95Ms ?? 0) - (hour.lagP50Ms ?? 0)),
    beforeEvent: at(0.95, earlyShare),
  };
}

/** A jump of the time between event and arrival that a clock explains and a slow or stuck shipper does not. */
function lagFault(hours: readonly HourlyRow[], { lags, minShift }: { lags: Lags; minShift: number }): Fault | null {
  const told = hours.flatMap(({ startMs, lagP50Ms, lagP95Ms }) =>
    lagP50Ms === null || lagP95Ms === null ? [] : [{ startMs, lagP50Ms, lagP95Ms }],
  );
  const clear = lags.spreadMs <= MAX_USUAL_MS;
  const moved = told.filter(({ lagP50Ms }) => Math.abs(lagP50Ms - lags.p50Ms) >= minShift);
  const whole = moved.find(({ lagP50Ms, lagP95Ms }) => lagP95Ms - lagP50Ms <= lags.spreadMs + SPREAD_MS);
  if (clear && whole !== undefined) {
    const shiftMs = whole.lagP50Ms - lags.p50Ms;
    return {
      status: 'block',
      says:
        `rows of ${hourName(whole.startMs)} arrived ${span(whole.lagP50Ms)} after their event, all alike, ${span(lags.p50Ms)} is usual: ` +
        (isZone(shiftMs, lags) ? 'a time zone' : 'a clock that jumped'),
    };
  }
  const slow = told.filter(({ lagP95Ms }) => lagP95Ms - lags.p95Ms >= Math.max(minShift, ZONE_STEP_MS - SPREAD_MS));
  const [first] = slow;
  if (first === undefined) return null;
  const alike = slow.filter(
    ({ lagP95Ms }) => Math.abs(lagP95Ms - first.lagP95Ms) <= SPREAD_MS && isZone(lagP95Ms - lags.p95Ms, lags),
  );
  if (clear && alike.length >= 2) {
    return {
      status: 'block',
      says:
        `a part of the rows of ${hourName(first.startMs)} and ${String(alike.length - 1)} h more arrived ${span(first.lagP95Ms)} after their event, alike in each hour, ` +
        `95 % within ${span(lags.p95Ms)} is usual: a part of the sources writes another time zone`,
    };
  }
  return {
    status: 'warn',
    says: `rows of ${hourName(first.startMs)} arrived later than usual (95 % within ${span(first.lagP95Ms)}, ${span(lags.p95Ms)} is usual): a shipper was slow or stuck, or a clock was set back`,
  };
}

function isZone(shiftMs: number, lags: Lags): boolean {
  const steps = Math.round(shiftMs / ZONE_STEP_MS);
  return steps !== 0 && Math.abs(shiftMs - steps * ZONE_STEP_MS) <= SPREAD_MS + Math.min(lags.spreadMs, SPREAD_MS);
}

/** Hours as one; none when they are too few rows together. */
function together(hours: readonly HourlyRow[]): Pick<HourlyRow, 'startMs' | 'rows' | 'beforeEvent'>[] {
  const rows = hours.reduce((sum, hour) => sum + hour.rows, 0);
  const beforeEvent = hours.reduce((sum, hour) => sum + hour.beforeEvent, 0);
  return rows < MIN_ROWS ? [] : [{ startMs: hours.at(-1)?.startMs ?? 0, rows, beforeEvent }];
}

function earlyShare({ rows, beforeEvent }: Pick<HourlyRow, 'rows' | 'beforeEvent'>): number {
  return rows === 0 ? 0 : beforeEvent / rows;
}

function highest(hours: readonly HourlyRow[], of: 'lagP50Ms' | 'lagP95Ms'): number | null {
  const values = hours.map((hour) => hour[of]).filter((value) => value !== null);
  return values.length === 0 ? null : Math.max(...values);
}
