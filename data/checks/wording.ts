const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

/** `12,345` */
export function whole(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 0 });
}

/** A ratio or share to two places: `0.41`. Smaller ones to two digits, so that none reads as nought: `0.0031`. */
export function ratio(value: number): string {
  return value !== 0 && Math.abs(value) < 0.1 ? String(Number(value.toPrecision(2))) : value.toFixed(2);
}

/** A duration as people say it: `4 h`, `30 min`, `12 s`. */
export function span(ms: number): string {
  const inUnits = (size: number): string => String(Number((ms / size).toFixed(1)));
  if (Math.abs(ms) >= HOUR_MS) return `${inUnits(HOUR_MS)} h`;
  if (Math.abs(ms) >= MINUTE_MS) return `${inUnits(MINUTE_MS)} min`;
  return `${inUnits(1_000)} s`;
}

/** An event time to the minute, in UTC: `2022-04-28 15:30 UTC`. */
export function moment(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

/** A season as people say it: `a day`, `a week`, `2 days`, `6 h`. */
export function season(ms: number): string {
  const days = ms / (24 * HOUR_MS);
  if (days === 1) return 'a day';
  if (days === 7) return 'a week';
  return Number.isInteger(days) ? `${String(days)} days` : span(ms);
}
