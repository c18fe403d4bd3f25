import type { CheckReport } from '../data/checks/check.ts';
import { renderDataReport } from '../data/report/render.ts';
import { snapshotManifestSchema } from '../data/snapshot.ts';
import { ArtifactError } from '../store/artifacts.ts';
import { readCycle } from '../store/cycles.ts';
import { readSnapshot } from '../store/snapshots.ts';
import { listTaints } from '../store/taints.ts';
import { versionsOfSnapshot } from '../store/version-summaries.ts';
import type { DataDependencies } from './dependencies.ts';
import { loadReference, readProfile } from './snapshot-references.ts';

/**
 * The report on a snapshot as one HTML page, drawn from what was recorded when it was taken and checked: the same page each
 * time, but for the versions that were trained on it.
 *
 * @param links.cardHref where the card of a version is; without it the page has no link there.
 * @throws Error when no such snapshot is recorded.
 */
export async function snapshotReport(
  deps: Pick<DataDependencies, 'db' | 'artifacts'>,
  snapshotId: string,
  { cardHref }: { cardHref?: (of: { line: string; version: number }) => string } = {},
): Promise<string> {
  const record = await readSnapshot(deps.db, snapshotId);
  const manifest = snapshotManifestSchema.parse(record.manifest);
  const report = record.report as CheckReport | null;
  const { config } = await readCycle(deps.db, record.cycleId);
  return renderDataReport({
    snapshotId,
    manifest,
    report,
    profile: await unlessGone(readProfile(deps, manifest.profiles.fresh)),
    reference: await referenceOf(deps, report),
    season: config.snapshot.season,
    taint: (await listTaints(deps.db, { line: record.line })).find((taint) => taint.snapshotId === snapshotId) ?? null,
    ...(cardHref && {
      cards: (await versionsOfSnapshot(deps.db, { line: record.line, snapshotId })).map((version) => ({
        version,
        href: cardHref({ line: record.line, version }),
      })),
    }),
  });
}

/** An old snapshot may have lost its profile: its page is drawn without it. */
async function unlessGone<T>(reading: Promise<T | null>): Promise<T | null> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof ArtifactError && error.kind === 'missing') return null;
    throw error;
  }
}

const NAMES = {
  season: 'the same phase one season before',
  training: 'what the champion was trained on',
  week: 'the same phase a week before',
} as const;

async function referenceOf(
  deps: Pick<DataDependencies, 'db' | 'artifacts'>,
  report: CheckReport | null,
): Promise<Parameters<typeof renderDataReport>[0]['reference']> {
  for (const [kind, name] of Object.entries(NAMES) as [keyof typeof NAMES, string][]) {
    const reference = await unlessGone(loadReference(deps, report?.comparedWith[kind] ?? []));
    if (reference !== null) {
      const { fromMs, toMs, profile } = reference;
      return { name, fromMs, toMs, profile };
    }
  }
  return null;
}
