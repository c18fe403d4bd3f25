import { z } from 'zod';
import { lineConfigSchema } from '../config/schema.ts';
import type { Ancestor, CardData, CardLinks, VersionCard } from '../data/card/card.ts';
import { describeCard } from '../data/card/describe.ts';
import type { CardDocument } from '../data/card/document.ts';
import { describeVersions } from '../data/card/list.ts';
import { readMetrics } from '../data/card/recorded.ts';
import type { CheckReport } from '../data/checks/check.ts';
import { snapshotManifestSchema } from '../data/snapshot.ts';
import { readCycle } from '../store/cycles.ts';
import type { Database, Queryable } from '../store/database.ts';
import { readAncestry, readVersionFacts, type VersionFacts } from '../store/lineage.ts';
import { readRoute } from '../store/route-head.ts';
import { currentRoute } from '../store/routes.ts';
import { readSnapshot } from '../store/snapshots.ts';
import { listTaints } from '../store/taints.ts';
import { listVersionSummaries } from '../store/version-summaries.ts';

/**
 * All that is on record of a version. What an older build recorded otherwise, or what is not recorded any more, is told as
 * such.
 *
 * @throws Error when there is no such line, or it has no such version.
 */
export async function readCard(db: Database, of: { line: string; version: number }): Promise<VersionCard> {
  const route = await currentRoute(db, of.line);
  const versions = await readAncestry(db, of);
  const [own, ...parents] = await readVersionFacts(db, { line: of.line, versions });
  if (own === undefined) throw new Error(`line "${of.line}" has no version ${String(of.version)}`);
  const { metrics, ...version } = own.version;
  const { snapshotId } = version.lineage;
  return {
    asOf: new Date(),
    version,
    metrics: readMetrics(metrics),
    config: lineConfigSchema.safeParse(version.lineage.config).data ?? null,
    route,
    cycle: await cycleOf(db, version.cycleId),
    data: await dataOf(db, snapshotId),
    ancestors: parents.map(asAncestor),
    contamination: own.contamination,
    taints: (await listTaints(db, { line: of.line, removed: true })).filter((taint) => taint.snapshotId === snapshotId),
    decisions: own.decisions,
    aliases: own.aliases,
    pin: own.pin,
    statuses: own.statuses,
    routes: own.routes,
    takenOff: await takenOff(db, own),
    removed: own.removed,
  };
}

/** The card as a document, for a renderer. @throws Error like `readCard`. */
export async function versionCard(
  db: Database,
  of: { line: string; version: number },
  links: CardLinks = {},
): Promise<CardDocument> {
  return describeCard(await readCard(db, of), links);
}

/** Of a line: what people look for is newer. */
const LISTED = 500;

/** The list of a line's versions as a document. @throws Error when there is no such line. */
export async function versionList(
  db: Database,
  { line, href }: { line: string; href: (version: number) => string },
): Promise<CardDocument> {
  const route = await currentRoute(db, line);
  const versions = await listVersionSummaries(db, { line, limit: LISTED + 1 });
  return describeVersions({ line, route, versions: versions.slice(0, LISTED), cut: versions.length > LISTED, href });
}

async function cycleOf(db: Queryable, cycleId: string | null): Promise<VersionCard['cycle']> {
  if (cycleId === null) return null;
  const { config: _config, ...cycle } = await readCycle(db, cycleId);
  return cycle;
}

async function dataOf(db: Database, snapshotId: string | undefined): Promise<CardData> {
  if (snapshotId === undefined) return { kind: 'none' };
  const record = await readSnapshot(db, snapshotId).catch((error: unknown) => {
    if (error instanceof Error && error.message.startsWith('no snapshot')) return null;
    throw error;
  });
  if (record === null)
    return { kind: 'unreadable', snapshotId, why: 'the snapshot that its lineage names is not recorded' };
  const manifest = snapshotManifestSchema.safeParse(record.manifest);
  if (!manifest.success)
    return {
      kind: 'unreadable',
      snapshotId,
      why: 'its snapshot was recorded under another contract, by another build',
    };
  return { kind: 'known', snapshotId, manifest: manifest.data, report: record.report as CheckReport | null };
}

const trained = z.object({ examples: z.number().nullable().catch(null) });

function asAncestor({ version: record, window, contamination }: VersionFacts): Ancestor {
  const { version, status, createdAt, lineage, metrics } = record;
  return {
    ...{ version, status, createdAt, window, contamination },
    strategy: lineage.strategy ?? null,
    examples: trained.parse(metrics).examples,
    snapshotId: lineage.snapshotId ?? null,
  };
}

async function takenOff(db: Queryable, { routes, version: { line } }: VersionFacts): Promise<VersionCard['takenOff']> {
  const last = routes.at(-1);
  if (last === undefined || last.toAt === null) return null;
  const { who, why } = await readRoute(db, { line, epoch: last.epoch + 1 });
  return { who, why };
}
