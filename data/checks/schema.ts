import { z } from 'zod';
import { sqlName } from '../duckdb.ts';
import { KEY_COLUMNS, snapshotColumns } from '../snapshot-columns.ts';
import { freshRows, type CheckContext, type Finding } from './check.ts';
import { whole } from './wording.ts';

const PARTS = ['train', 'holdout', 'replay', 'historical', 'unlabelled'] as const;
const int = z.number().int();

/**
 * The files are what the manifest says: rows, columns and types, keys and labels in every row, labels 0 or 1, no numbers
 * that are none. Warns of a feature that no row has.
 */
export async function checkSchema(context: CheckContext): Promise<Finding> {
  const { config, manifest } = context;
  const columns = snapshotColumns(config.features);
  const faults: string[] = [];
  for (const part of PARTS) {
    if (rowsOf(manifest, part) > 0) faults.push(...(await faultsOf(context, part)));
  }
  // Gateways write numbers, so the log can not hold anything else; of other sources "format" judges how many there are.
  const logged = manifest.source.kind === 'eventLog';
  for (const { name, invalid } of manifest.features) {
    if (logged && invalid > 0)
      faults.push(`feature "${name}" holds ${whole(invalid)} values that are no number of its kind`);
  }
  const empty = freshRows(manifest) === 0;
  if (empty) faults.push('there are no fresh rows to look at');
  const absent = empty
    ? []
    : manifest.features.filter(({ missingTrained }) => missingTrained === 1).map(({ name }) => name);
  const numbers = { columns: columns.length, faults: faults.length, absentFeatures: absent.length };
  if (faults.length > 0) {
    return {
      status: 'block',
      numbers,
      threshold: {},
      message: `${faults.join('; ')}: the snapshot is not what the config's features and the log promise`,
    };
  }
  if (absent.length > 0) {
    const named = absent.map((name) => `"${name}"`).join(', ');
    return {
      status: 'warn',
      numbers,
      threshold: {},
      message: `no row has a value of ${named}: a new feature that is not logged yet, or a name that requests do not use`,
    };
  }
  return {
    status: 'pass',
    numbers,
    threshold: {},
    message: `all ${String(columns.length)} columns are there with their types`,
  };
}

/** As the manifest says. */
function rowsOf({ files, counts }: CheckContext['manifest'], part: (typeof PARTS)[number]): number {
  if (part === 'train' || part === 'holdout' || part === 'replay') return counts[part];
  return files[part].reduce((sum, { rows }) => sum + rows, 0);
}

async function faultsOf({ config, manifest, db }: CheckContext, part: (typeof PARTS)[number]): Promise<string[]> {
  const expected = snapshotColumns(config.features);
  const found = new Map((await db.describe(`SELECT * FROM ${part}`)).map(({ name, type }) => [name, type]));
  const faults = expected
    .filter(({ name, type }) => found.get(name) !== type)
    .map(({ name, type }) => `column "${name}" of ${part} is ${found.get(name) ?? 'missing'}, expected ${type}`);
  if (faults.length > 0) return faults;
  const numeric = config.features
    .filter(({ kind }) => kind === 'numeric')
    .map(({ name }) => `NOT isfinite(${sqlName(name)})`);
  const keys = KEY_COLUMNS.filter((name) => part !== 'unlabelled' || name !== 'label');
  const badLabel = part === 'unlabelled' ? 'label IS NOT NULL' : 'label NOT IN (0, 1)';
  const { rows, keyless, badLabels, infinite } = await db.row(
    `SELECT count(*) AS rows, count(*) FILTER (${keys.map((name) => `${name} IS NULL`).join(' OR ')}) AS keyless,
       count(*) FILTER (${badLabel}) AS badLabels, count(*) FILTER (${['false', ...numeric].join(' OR ')}) AS infinite
     FROM ${part}`,
    z.object({ rows: int, keyless: int, badLabels: int, infinite: int }),
  );
  const said = rowsOf(manifest, part);
  if (rows !== said) faults.push(`${part} has ${whole(rows)} rows, the manifest says ${whole(said)}`);
  if (keyless > 0) faults.push(`${whole(keyless)} rows of ${part} lack an id, a time or a label`);
  if (badLabels > 0) {
    const wrong = part === 'unlabelled' ? 'there before they are complete' : 'neither 0 nor 1';
    faults.push(`${whole(badLabels)} labels of ${part} are ${wrong}`);
  }
  if (infinite > 0) faults.push(`${whole(infinite)} rows of ${part} hold a number that is infinite or none`);
  return faults;
}
