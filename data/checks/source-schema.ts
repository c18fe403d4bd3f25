import type { LineConfig } from '../../config/schema.ts';
import type { CheckContext, Finding } from './check.ts';
import { upstreamReferences, type UpstreamReference } from './feature-comparison.ts';
import { columnUse, typeChange } from './source-types.ts';

type SourceColumn = CheckContext['manifest']['source']['columns'][number];

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
  const changes = moved ? [] : changesOf({ config, now, before });
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

function changesOf(input: { config: LineConfig; now: SourceColumn[]; before: SourceColumn[] }): Change[] {
  const { config, now, before } = input;
  const [found, known] = [byName(now), byName(before)];
  const changes: Change[] = [];
  for (const [key, { name, type }] of known) {
    const use = columnUse(config, name);
    const same = found.get(key);
    if (same === undefined) {
      const says = `column "${name}" is gone${use === null ? '' : ` (${use.as})`}`;
      changes.push({ blocks: use !== null, says });
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
