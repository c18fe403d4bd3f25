import type { CheckReport, CheckResult } from '../checks/check.ts';
import { moment, ratio, span, whole } from '../checks/wording.ts';
import type { Profile } from '../profile/index.ts';
import type { SnapshotManifest } from '../snapshot-manifest.ts';
import { arrival, volume } from './charts.ts';
import { columnChart } from './column-charts.ts';
import { columnFacts } from './column-facts.ts';
import { html, type Html } from './html.ts';
import { STYLE } from './style.ts';

export interface DataReportInput {
  snapshotId: string;
  manifest: SnapshotManifest;
  /** Null until the checks ran. */
  report: CheckReport | null;
  /** Of the fresh rows; null without rows. */
  profile: Profile | null;
  /** What the distributions are drawn over, and how to call it; null when there is nothing to compare with. */
  reference: { name: string; fromMs: number; toMs: number; profile: Profile } | null;
  season: number;
  taint: { reason: string; who: string } | null;
  /** Cards of the versions that were trained on it; left out where there is nothing to link to. */
  cards?: readonly { href: string; version: number }[];
}

const HOUR_MS = 3_600_000;
const STATUS_WORDS = {
  block: 'blocks',
  warn: 'warns',
  silenced: 'silenced',
  dryRun: 'dry run',
  notApplicable: 'not applicable',
  pass: 'passes',
} as const;
/** What needs a person first. */
const STATUS_ORDER = Object.keys(STATUS_WORDS) as (keyof typeof STATUS_WORDS)[];

/**
 * One page about a snapshot that needs nothing else: verdict first, then each check, the way of the rows, volume by hour,
 * label delay, and every column old over new.
 */
export function renderDataReport(input: DataReportInput): string {
  const { manifest, snapshotId } = input;
  const title = `${manifest.line}: data of ${moment(manifest.cutoffMs)}`;
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title}</title>
        ${STYLE}
      </head>
      <body>
        <main>
          ${verdict(input)}
          <dl class="facts">
            <div>
              <dt>snapshot</dt>
              <dd><code>${snapshotId}</code></dd>
            </div>
            <div>
              <dt>cycle</dt>
              <dd><code>${manifest.cycleId}</code></dd>
            </div>
            <div>
              <dt>fresh rows</dt>
              <dd>${moment(manifest.windowStartMs)} to ${moment(manifest.cutoffMs)}</dd>
            </div>
            <div>
              <dt>taken at</dt>
              <dd>${moment(manifest.eventNowMs)} (event time)</dd>
            </div>
            <div>
              <dt>source</dt>
              <dd>${manifest.source.kind}: ${manifest.source.location}</dd>
            </div>
            <div>
              <dt>compared with</dt>
              <dd>${comparedWith(input)}</dd>
            </div>
            ${cards(input)}
          </dl>
          ${checks(input.report)} ${rowFlow(manifest)} ${volumeByHour(input)} ${labelDelay(manifest)} ${columns(input)}
        </main>
      </body>
    </html>`;
  return page.markup;
}

function cards({ cards: of = [] }: DataReportInput): Html | null {
  if (of.length === 0) return null;
  return html`<div>
    <dt>trained</dt>
    <dd>${of.map(({ href, version }) => html`<a href="${href}">version ${version}: its card</a> `)}</dd>
  </div>`;
}

function verdict({ report, manifest, taint }: DataReportInput): Html {
  const tainted =
    taint === null
      ? null
      : html`<p class="why"><b>Tainted</b> by ${taint.who}: ${taint.reason}. Nothing trains on it any more.</p>`;
  if (report === null) {
    return html`<h1><span class="badge warn">NOT CHECKED</span> ${manifest.line}</h1>
      <p>The checks of this snapshot have not run.</p>
      ${tainted}`;
  }
  const blocking = report.results.filter(({ status }) => status === 'block');
  const warnings = report.results.filter(({ status }) => status === 'warn').length;
  const silenced = report.results.filter(({ status }) => status === 'silenced').length;
  const beside = [
    warnings > 0 ? `${String(warnings)} warned` : null,
    silenced > 0 ? `${String(silenced)} silenced` : null,
  ].filter((text) => text !== null);
  return html`<h1>
      <span class="badge ${report.verdict}">${report.verdict === 'pass' ? 'PASSED' : 'BLOCKED'}</span>
      ${manifest.line}
    </h1>
    <p>
      ${
        blocking.length === 0
          ? `All ${String(report.results.length)} checks let this snapshot train`
          : `${String(blocking.length)} of ${String(report.results.length)} checks keep this snapshot from training; the previous model goes on serving`
      }${beside.length > 0 ? `; ${beside.join(', ')}` : ''}.
    </p>
    ${tainted} ${blocking.map(({ check, message }) => html`<p class="why"><code>${check}</code> ${message}</p>`)}`;
}

function comparedWith({ reference }: DataReportInput): string {
  if (reference === null) return 'nothing: no earlier snapshot passed';
  return `${reference.name}, ${moment(reference.fromMs)} to ${moment(reference.toMs)}, ${whole(reference.profile.rows)} rows`;
}

function checks(report: CheckReport | null): Html | null {
  if (report === null) return null;
  const ordered = report.results.toSorted((a, b) => STATUS_ORDER.indexOf(a.status) - STATUS_ORDER.indexOf(b.status));
  return html`<h2>Checks</h2>
    <table class="checks">
      <thead>
        <tr>
          <th>status</th>
          <th>check</th>
          <th>what was found</th>
        </tr>
      </thead>
      <tbody>
        ${ordered.map(checkRow)}
      </tbody>
    </table>`;
}

function checkRow({ check, status, message, numbers, threshold }: CheckResult): Html {
  const figures = Object.entries(numbers);
  const limits = Object.entries(threshold);
  const pair = ([name, value]: [string, number | string | null]): Html =>
    html`<tr>
      <td>${name}</td>
      <td>${typeof value === 'number' ? short(value) : (value ?? 'none')}</td>
    </tr>`;
  const details =
    figures.length + limits.length === 0
      ? null
      : html`<details>
          <summary>numbers</summary>
          <table class="numbers">
            ${figures.map(pair)}
          </table>
          ${
            limits.length === 0
              ? null
              : html`<p class="dim">thresholds</p>
                  <table class="numbers">
                    ${limits.map(pair)}
                  </table>`
          }
        </details>`;
  return html`<tr class="${status}">
    <td><span class="badge ${status}">${STATUS_WORDS[status]}</span></td>
    <td><code>${check}</code></td>
    <td>${message}${details}</td>
  </tr>`;
}

function rowFlow({ counts, source }: SnapshotManifest): Html {
  const steps: [name: string, rows: number, what: string][] = [
    ['read', counts.read, `the source itself says ${whole(source.rows)}`],
    ['malformed', -counts.malformed, 'torn, or without an id, user, item or time'],
    ['other lines', -counts.otherLine, ''],
    ['not arrived', -counts.notArrived, 'arrived when the snapshot was taken, or later'],
    ['future', -counts.future, 'dated after the snapshot was taken'],
    ['duplicates', -counts.duplicates, 'impression id, or user, item and time, seen before'],
    ['immature', -counts.immature, 'too young for a label: in the next snapshot'],
    ['history', -counts.history, 'older, and not drawn for replay'],
    ['tainted', -counts.tainted, 'in a window that was found bad later'],
    ['reserved', -counts.reserved, 'kept for the historical holdout'],
    ['sampled out', -counts.sampledOut, 'over snapshot.maxTrainRows'],
    ['train', counts.train, `of them ${whole(counts.lateIncluded)} late, ${whole(counts.corrected)} corrected`],
    ['holdout', counts.holdout, 'newest; trains the next cycle'],
    ['replay', counts.replay, 'from history, against forgetting'],
  ];
  return html`<h2>Rows</h2>
    <table class="numbers flow">
      ${steps
        .filter(([name, rows]) => rows !== 0 || ['read', 'train', 'holdout'].includes(name))
        .map(
          ([name, rows, what]) =>
            html`<tr>
              <td>${name}</td>
              <td class="n">${rows < 0 ? '−' : ''}${whole(Math.abs(rows))}</td>
              <td class="dim">${what}</td>
            </tr>`,
        )}
    </table>`;
}

function volumeByHour({ manifest, season }: DataReportInput): Html {
  const { hourly } = manifest.source;
  if (hourly.length === 0)
    return html`<h2>Volume by hour</h2>
      <p class="dim">no rows</p>`;
  const byStart = new Map(hourly.map((hour) => [hour.startMs, hour.rows]));
  const first = manifest.source.firstEventMs ?? Number.POSITIVE_INFINITY;
  const hours = hourly.map(({ startMs, rows, mature }) => ({
    ...{ startMs, rows, mature },
    before: startMs - season < first ? null : (byStart.get(startMs - season) ?? 0),
  }));
  return html`<h2>Volume by hour</h2>
    <p class="dim">Bars: rows without repeats; pale: too young for a label. Dashed: ${span(season)} before.</p>
    ${volume(hours, HOUR_MS)}`;
}

function labelDelay({ label, maturityMs }: SnapshotManifest): Html {
  const { delays, maturityFrom } = label;
  const inForce = `Labels count as complete after ${span(maturityMs)}`;
  if (delays === null)
    return html`<h2>Label delay</h2>
      <p>${inForce}; no delay could be measured.</p>`;
  const points = [
    { ms: delays.p50Ms, share: 0.5 },
    { ms: delays.p90Ms, share: 0.9 },
    { ms: delays.p95Ms, share: 0.95 },
    { ms: delays.p99Ms, share: 0.99 },
    { ms: delays.maxMs, share: 1 },
  ];
  const from = {
    measured: 'measured',
    config: 'as configured',
    tooFewDelays: 'as configured, since too few delays are known',
  }[maturityFrom];
  return html`<h2>Label delay</h2>
    <p>
      ${inForce} (${from}). Of ${whole(delays.count)} labels half arrived within ${span(delays.p50Ms)}, 95 % within
      ${span(delays.p95Ms)}, the last after ${span(delays.maxMs)}.
    </p>
    ${arrival(points, maturityMs)}`;
}

function columns(input: DataReportInput): Html {
  const { profile, reference } = input;
  if (profile === null)
    return html`<h2>Columns</h2>
      <p class="dim">no fresh rows</p>`;
  const before = reference?.profile ?? null;
  return html`<h2>Columns</h2>
    <p class="dim">
      Blue: ${whole(profile.rows)} fresh rows. Grey:
      ${before === null ? 'nothing to compare with' : (reference?.name ?? '')}. Categorical features are shown by the
      ids they train as.
    </p>
    <div class="columns">
      ${columnsInOrder(input).map(
        (name) =>
          html`<section class="column">
            <h3>${name}</h3>
            ${columnChart(name, profile, before)} ${columnFacts(name, profile, before)}
          </section>`,
      )}
    </div>`;
}

/** Features as the config has them, then what the log adds. */
function columnsInOrder({ profile, manifest }: DataReportInput): string[] {
  const features = manifest.features.map(({ name }) => name);
  return [...new Set([...features, ...Object.keys(profile?.columns ?? {})])];
}

function short(value: number): string {
  if (Number.isInteger(value)) return Math.abs(value) < 1e12 ? value.toLocaleString('en-US') : String(value);
  return Math.abs(value) >= 100 ? value.toFixed(1) : Math.abs(value) < 1e-4 ? value.toExponential(2) : ratioOf(value);
}

function ratioOf(value: number): string {
  return Math.abs(value) < 0.1 ? ratio(value) : value.toFixed(4);
}
