import type { LineConfig } from '../../config/schema.ts';
import type { SnapshotManifest } from '../snapshot-manifest.ts';
import { freshRows, type CheckContext, type Finding } from './check.ts';
import { upstreamReferences, type UpstreamReference } from './feature-comparison.ts';
import { columnUse, typeChange } from './source-types.ts';

type SourceColumn = CheckContext['manifest']['source']['columns'][number];

/** With fewer values of a feature expected in the fresh rows, that there is none is chance. */
const EXPECTED_VALUES = 10;

interface Change {
  blocks: boolean;
  says: string;
}

/**
 * The source has the columns that it had when the newest snapshot before this was taken, with their types. A column that
 * a feature or the source's mapping reads must be there, and hold the same kind of value: 64-bit numbers for 32-bit ones
 * are the same, text for numbers is not. What nothing reads, and new columns, warn.
 */
export function checkSourceSchema(context: CheckContext): Finding {
  const { config, manifest } = context;
  const newest = newestOf(upstreamReferences(context));
  const now = manifest.source.columns;
  if (newest === null) {
    const message = `the source has ${String(now.length)} columns; no earlier snapshot has passed its checks, so there is nothing to compare with yet`;
    return { status: 'notApplicable', numbers: { columns: now.length }, threshold: {}, message };
  }
  const { source } = newest.reference.manifest;
  const moved = source.kind !== manifest.source.kind;
  const before = source.columns;
  const changes = moved ? [] : changesOf({ config, manifest, earlier: newest.reference.manifest });
  const blocking = changes.filter(({ blocks }) => blocks);
  const numbers: Finding['numbers'] = {
    columns: now.length,
    columnsBefore: before.length,
    changes: changes.length,
    blocking: blocking.length,
  };
  if (moved) {
    const message = `the source is of another kind (${manifest.source.kind}) than in ${newest.name} (${source.kind}): its columns can not be compared`;
    return { status: 'warn', numbers, threshold: {}, message };
  }
  if (changes.length === 0) {
    const message = `the source's ${String(now.length)} columns are those of ${newest.name}`;
    return { status: 'pass', numbers, threshold: {}, message };
  }
  const told = (blocking.length > 0 ? blocking : changes).slice(0, 8).map(({ says }) => says);
  return {
    status: blocking.length > 0 ? 'block' : 'warn',
    numbers,
    threshold: {},
    message:
      `compared with ${newest.name}: ${told.join('; ')}` +
      (blocking.length > 0
        ? '. The schema changed upstream: have the column back, or change the config to what is there now'
        : '; nothing that the config reads has changed'),
  };
}

function newestOf(references: readonly UpstreamReference[]): UpstreamReference | null {
  return references.toSorted((a, b) => b.reference.toMs - a.reference.toMs)[0] ?? null;
}

/** By name, whatever the case of the letters. */
function byName(columns: readonly SourceColumn[]): Map<string, SourceColumn> {
  return new Map(columns.map((column) => [column.name.toLowerCase(), column]));
}

function changesOf(input: { config: LineConfig; manifest: SnapshotManifest; earlier: SnapshotManifest }): Change[] {
  const { config, manifest, earlier } = input;
  const [found, known] = [byName(manifest.source.columns), byName(earlier.source.columns)];
  const changes: Change[] = [];
  for (const [key, { name, type }] of known) {
    const use = columnUse(config, name);
    const same = found.get(key);
    if (same === undefined) {
      const says = `column "${name}" is gone${use === null ? '' : ` (${use.as})`}`;
      changes.push({ blocks: use !== null && !mayBeChance(name, { manifest, earlier }), says });
      continue;
    }
    const change = typeChange(type, same.type, use?.text ?? false);
    if (change === 'same') continue;
    const says = `column "${name}" was ${type} and is ${same.type}${use === null ? '' : ` (${use.as})`}`;
    changes.push({ blocks: use !== null && change === 'other', says });
  }
  for (const [key, { name, type }] of found) {
    if (!known.has(key)) changes.push({ blocks: false, says: `column "${name}" (${type}) is new` });
  }
  return changes;
}

/**
 * The columns of an event log are those of its newest hour, which may lack a feature that few rows carry: that says nothing
 * against fresh rows that have it, or that are too few to.
 */
function mayBeChance(column: string, of: { manifest: SnapshotManifest; earlier: SnapshotManifest }): boolean {
  const { manifest, earlier } = of;
  if (manifest.source.kind !== 'eventLog') return false;
  const missingIn = ({ features }: SnapshotManifest): number | null =>
    features.find(({ name }) => `features.${name}` === column)?.missingServed ?? null;
  const [now, before] = [missingIn(manifest), missingIn(earlier)];
  if (now === null || before === null) return false;
  return now < 1 || freshRows(manifest) * (1 - before) < EXPECTED_VALUES;
}
