import type { LineConfig } from '../../config/schema.ts';
import { wilsonInterval } from '../../policy/proportion.ts';
import { quantile } from '../../policy/statistics.ts';
import { distinctOf, mergeProfiles } from '../profile/index.ts';
import type { Profile } from '../profile/profile.ts';
import type { SnapshotManifest } from '../snapshot-manifest.ts';
import { freshRows, type CheckContext, type Finding, type References } from './check.ts';
import {
  readConcentration,
  readOrigin,
  readQuality,
  type Concentration,
  type Origin,
  type Quality,
} from './feedback-loop-facts.ts';
import { ratio, whole } from './wording.ts';

type Limits = LineConfig['checks']['feedbackLoop'];

/** One-sided 0.1 %: a share that is seen to have fallen has fallen. */
const FALLEN_Z = 3.09;
/** Snapshots with more rows than this many times as many cover more items without any change. */
const MORE_ROWS = 1.25;

/**
 * A model that learns from what it chose itself confirms itself: this shows how far that goes, by the share of the training
 * labels that no exploration chose, by how concentrated what is shown is and how much of the catalogue it covers, and by
 * the quality where the model did not choose. Nearly all labels are the model's choice by construction, so it warns only
 * when a number falls against those of the recent snapshots.
 */
export async function checkFeedbackLoop({ config, manifest, db, profile, references }: CheckContext): Promise<Finding> {
  const { severity: _severity, ...threshold } = config.checks.feedbackLoop;
  if (manifest.counts.train === 0) {
    const message = `there are no rows to train on (${whole(freshRows(manifest))} fresh rows), so nobody can tell what chose them`;
    return { status: 'warn', numbers: {}, threshold, message };
  }
  const origin = await readOrigin(db);
  const shown = await readConcentration(db);
  const quality = await readQuality(db, config.training.seed);
  const coverage = coverageOf(profile, references);
  const numbers = {
    ...numbersOf({ origin, shown, quality }),
    rows: freshRows(manifest),
    ...{ coverage: coverage.share, referenceItems: coverage.items, referenceSnapshots: references.recent.length },
  };
  const trend = trendOf({ numbers, origin, references, limits: config.checks.feedbackLoop });
  const now = [originText(origin), shownText(shown, coverage.share), qualityText(quality)].join('; ');
  if (trend.fallen.length > 0) {
    const message = `${trend.fallen.join('; ')}. ${sentence(now)}. Look at whether exploration still runs and whether a few items crowd out the others`;
    return { status: 'warn', numbers, threshold, message };
  }
  if (trend.reports === 0 && isYoung(manifest, config.snapshot.season)) {
    return {
      status: 'notApplicable',
      numbers,
      threshold,
      message: `${now}; there is no earlier snapshot to see a trend against`,
    };
  }
  const against =
    trend.reports < threshold.minReports
      ? `a trend is seen from ${whole(threshold.minReports)} earlier snapshots on, there are ${whole(trend.reports)}`
      : `nothing fell by more than ${ratio(threshold.maxFall)} against the median of ${whole(trend.reports)} earlier snapshots`;
  return { status: 'pass', numbers, threshold, message: `${now}; ${against}` };
}

function numbersOf(input: { origin: Origin; shown: Concentration; quality: Quality[] }): Finding['numbers'] {
  const { origin, shown } = input;
  const known = origin.labels - origin.unknown;
  const share = (rows: number): number | null => (known === 0 ? null : rows / known);
  const numbers: Finding['numbers'] = {
    ...{ labels: origin.labels, unknownArm: origin.unknown, exploration: origin.exploration },
    explorationShare: share(origin.exploration),
    policyShare: share(origin.model),
    ...{ items: shown.items, effectiveItems: shown.effective, topShare: shown.topShare, gini: shown.gini },
  };
  for (const { traffic, rows, clickRate, auc } of input.quality) {
    numbers[`${traffic}.rows`] = rows;
    numbers[`${traffic}.clickRate`] = defined(clickRate.estimate);
    numbers[`${traffic}.auc`] = defined(auc.estimate);
    numbers[`${traffic}.aucLower`] = defined(auc.lower);
    numbers[`${traffic}.aucUpper`] = defined(auc.upper);
  }
  return numbers;
}

/** Distinct items shown over those that the recent snapshots have seen. */
function coverageOf(profile: Profile | null, { recent }: References): { share: number | null; items: number | null } {
  const item = profile?.columns['item_id'];
  const seen = recent.filter((reference) => reference.profile.columns['item_id'] !== undefined);
  if (item === undefined || seen.length === 0) return { share: null, items: null };
  const merged = mergeProfiles(seen.map((reference) => reference.profile)).columns['item_id'];
  const items = merged === undefined ? 0 : distinctOf(merged);
  // Not a number where the sketches are of different kinds.
  const share = distinctOf(item) / items;
  return Number.isFinite(share) ? { share, items } : { share: null, items: null };
}

/** What fell against the median of the recent snapshots' own reports. */
function trendOf(input: { numbers: Finding['numbers']; origin: Origin; references: References; limits: Limits }): {
  fallen: string[];
  reports: number;
} {
  const { numbers, origin, references, limits } = input;
  const reports = references.recent.flatMap(({ report }) => {
    const found = report?.results.find(({ check }) => check === 'feedback-loop')?.numbers;
    return found === undefined ? [] : [found];
  });
  const fallen: string[] = [];
  const compare = (name: string, words: string, now: number | null, comparable = reports): void => {
    const before = comparable.flatMap((report) => {
      const value = report[name];
      return typeof value === 'number' && Number.isFinite(value) ? [value] : [];
    });
    if (now === null || before.length < limits.minReports) return;
    const median = quantile(
      before.toSorted((a, b) => a - b),
      0.5,
    );
    if (now < (1 - limits.maxFall) * median) {
      fallen.push(
        `${words} fell from ${figure(median)} (median of ${whole(before.length)} earlier snapshots) to ${figure(Number(numbers[name]))}`,
      );
    }
  };
  const known = origin.labels - origin.unknown;
  // Exploration is a small sample: only a fall beyond chance counts.
  const atMost = known === 0 ? null : wilsonInterval({ successes: origin.exploration, n: known, z: FALLEN_Z }).upper;
  compare('explorationShare', 'the share of training labels that exploration chose', atMost);
  compare('effectiveItems', 'the effective number of items shown', numberOf(numbers['effectiveItems']));
  // Coverage falls with the number of snapshots it is measured against, and grows with the rows.
  const alike = reports.filter(
    (report) =>
      report['referenceSnapshots'] === numbers['referenceSnapshots'] &&
      Number(report['rows']) <= MORE_ROWS * Number(numbers['rows']),
  );
  compare('coverage', 'the share of the known items that is shown', numberOf(numbers['coverage']), alike);
  return { fallen, reports: reports.length };
}

function isYoung({ source, cutoffMs }: SnapshotManifest, seasonMs: number): boolean {
  return source.firstEventMs === null || source.firstEventMs > cutoffMs - seasonMs;
}

function originText({ labels, unknown, exploration, model }: Origin): string {
  const known = labels - unknown;
  if (known === 0) return `none of ${whole(labels)} training labels says which arm it was shown in`;
  const rest = unknown === 0 ? '' : ` (${whole(unknown)} more say no arm)`;
  const explored =
    exploration === 0
      ? 'no exploration chose any'
      : `exploration chose ${whole(exploration)} (${ratio(exploration / known)})`;
  return `the model chose ${whole(model)} of ${whole(known)} training labels${rest}, ${explored}`;
}

function shownText({ items, effective, topShare }: Concentration, coverage: number | null): string {
  const covered = coverage === null ? '' : `, ${ratio(coverage)} of those seen lately`;
  const alike = effective === null ? '' : `; two impressions show the same item as if there were ${whole(effective)}`;
  return `${whole(items)} items were shown${covered}, the top 1 % of them in ${ratio(topShare)} of the impressions${alike}`;
}

function qualityText(quality: readonly Quality[]): string {
  return quality
    .map(({ traffic, rows, clickRate, auc }) => {
      if (rows === 0) return `no scored ${traffic} traffic`;
      const ranked = Number.isFinite(auc.lower)
        ? `AUC ${ratio(auc.estimate)} (${ratio(auc.lower)} to ${ratio(auc.upper)})`
        : 'an AUC that is not known';
      return `on ${whole(rows)} scored rows of ${traffic} traffic ${ranked} and a label rate of ${ratio(clickRate.estimate)} (${ratio(clickRate.lower)} to ${ratio(clickRate.upper)})`;
    })
    .join(', ');
}

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
const defined = (value: number): number | null => (Number.isFinite(value) ? value : null);
const numberOf = (value: number | string | null | undefined): number | null =>
  typeof value === 'number' ? value : null;
const figure = (value: number): string => (value >= 10 ? whole(value) : ratio(value));
