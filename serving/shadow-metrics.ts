import { Gauge, type Registry } from 'prom-client';
import type { HealthRow } from './health-sums.ts';

type Figure = (rows: readonly HealthRow[]) => number;

const total = (rows: readonly HealthRow[], value: (row: HealthRow) => number | undefined): number =>
  rows.reduce((sum, row) => sum + (value(row) ?? 0), 0);

/** Means over what this process copied for a version and still holds. One of nothing is no series. */
const GAUGES: readonly { name: string; help: string; figure: Figure }[] = [
  {
    name: 'freshet_shadow_rank_agreement',
    help: "Mean Kendall's tau-b of a shadow's and stable's rankings, cut at what is shown",
    figure: (rows) => total(rows, ({ shadow }) => shadow?.tauSum) / total(rows, ({ shadow }) => shadow?.rankings),
  },
  {
    name: 'freshet_shadow_rank_overlap',
    help: 'Mean share of what stable shows first that a shadow would show first, too',
    figure: (rows) => total(rows, ({ shadow }) => shadow?.overlapSum) / total(rows, ({ shadow }) => shadow?.rankings),
  },
  {
    name: 'freshet_shadow_score_difference',
    help: 'Mean difference of shadow and stable score of the same candidate',
    figure: (rows) =>
      total(rows, ({ scoreDifferenceSum }) => scoreDifferenceSum) / total(rows, ({ impressions }) => impressions),
  },
  {
    name: 'freshet_shadow_nan_share',
    help: 'Share of its copies that a shadow answered with NaN or infinity',
    figure: (rows) => total(rows, ({ shadow }) => shadow?.notNumbers) / total(rows, ({ requests }) => requests),
  },
];

/** Registers how shadows compare with stable, by line and version: made of the health sums when it is scraped. */
export function registerShadowMetrics(register: Registry, shadowRows: () => readonly HealthRow[]): void {
  for (const { name, help, figure } of GAUGES) {
    new Gauge({
      ...{ name, help, labelNames: ['line', 'version'], registers: [register] },
      collect() {
        this.reset();
        for (const { line, version, rows } of byVersion(shadowRows())) {
          const value = figure(rows);
          if (Number.isFinite(value)) this.set({ line, version: String(version) }, value);
        }
      },
    });
  }
}

function byVersion(rows: readonly HealthRow[]): { line: string; version: number; rows: HealthRow[] }[] {
  const groups = new Map<string, { line: string; version: number; rows: HealthRow[] }>();
  for (const row of rows) {
    const { line, version } = row;
    const key = `${line}/${String(version)}`;
    const group = groups.get(key) ?? { line, version, rows: [] };
    group.rows.push(row);
    groups.set(key, group);
  }
  return [...groups.values()];
}
