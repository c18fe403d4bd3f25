import { mlflowContent, VERSION_TAG, type MlflowContent } from '../integrations/mlflow-content.ts';
import { MlflowError, type Mlflow, type MlflowModel, type MlflowRun } from '../integrations/mlflow.ts';
import type { Database } from '../store/database.ts';
import {
  aliasesForMlflow,
  mlflowStanding,
  recordMlflowRefusal,
  recordMlflowVersion,
  versionsBehindMlflow,
  type BehindVersion,
} from '../store/mlflow-mirrors.ts';

export interface MirrorContext {
  db: Database;
  mlflow: Mlflow;
  prefix: string;
  /** Id of the server and prefix. */
  target: string;
  now: Date;
}

export interface MirroredLine {
  /** Versions that are in step now and were not before. */
  versions: number;
  /** `unfinished`: there is more to mirror; `refused`: MLflow said no to something. */
  kind: 'mirrored' | 'unfinished' | 'refused';
  /** What people should know: refusals, and aliases that are somebody else's. */
  note: string | null;
}

/** Versions of one line before others get a turn. */
const VERSIONS_A_TURN = 10;
/** On a registered model, for each alias that Freshet set: it touches no other. */
const ALIAS_TAG = 'freshet.alias.';

/**
 * Brings the copy of a line up to date, its versions oldest first, then its aliases. It may end between any two requests:
 * what it made is found again.
 *
 * @throws MlflowError when MLflow can not be used at all; one version that it refuses is recorded instead.
 */
export async function mirrorLine(context: MirrorContext, line: string): Promise<MirroredLine> {
  const { db, target, now, mlflow, prefix } = context;
  const behind = await versionsBehindMlflow(db, { line, target, now, limit: VERSIONS_A_TURN });
  if (behind.length === 0) {
    const { copies, refused } = await mlflowStanding(db, line);
    if (copies === 0) return { versions: 0, kind: refused === null ? 'mirrored' : 'refused', note: refused };
  }
  const name = `${prefix}.${line}`;
  const model = await mlflow.ensureModel(name, `Versions of the model line ${line}, mirrored from Freshet.`);
  let versions = 0;
  for (const version of behind) {
    if (await mirrorOrRefuse(context, { version, name })) versions += 1;
  }
  const conflicts = await mirrorAliases(context, { line, name, model });
  const { refused } = await mlflowStanding(db, line);
  const notes = [...(refused === null ? [] : [refused]), ...conflicts];
  const kind = behind.length === VERSIONS_A_TURN ? 'unfinished' : refused === null ? 'mirrored' : 'refused';
  return { versions, kind, note: notes.length === 0 ? null : notes.join('; ') };
}

async function mirrorOrRefuse(
  context: MirrorContext,
  { version, name }: { version: BehindVersion; name: string },
): Promise<boolean> {
  try {
    const content = mlflowContent(version);
    const runId = await mirrorRun(context, { version, content });
    const modelVersion = await mirrorModelVersion(context, { version, content, name, runId });
    await recordMlflowVersion(context.db, { ...version, runId, modelVersion, now: context.now });
    return true;
  } catch (error) {
    if (!(error instanceof MlflowError) || error.retryable) throw error;
    await recordMlflowRefusal(context.db, { ...version, error: error.message, now: context.now });
    return false;
  }
}

/** A run is finished once all its params and metrics are there, so that one which was cut short is told from a whole one. */
async function mirrorRun(
  context: MirrorContext,
  { version, content: { run } }: { version: BehindVersion; content: MlflowContent },
): Promise<string> {
  const { mlflow } = context;
  const { runId, finished } = await findOrCreateRun(context, { version, run });
  if (finished) {
    await mlflow.log(runId, { tags: run.tags });
  } else {
    await mlflow.log(runId, run);
    await mlflow.finishRun(runId, run.endMs);
  }
  return runId;
}

async function findOrCreateRun(
  { mlflow, prefix }: MirrorContext,
  { version, run }: { version: BehindVersion; run: MlflowContent['run'] },
): Promise<MlflowRun> {
  const recorded = version.runId === null ? null : await mlflow.findRunById(version.runId);
  if (recorded !== null && !recorded.deleted) return recorded;
  const experimentId = await mlflow.ensureExperiment(`${prefix}/${version.line}`);
  const found = await mlflow.findRun(experimentId, { key: VERSION_TAG, value: run.tags[VERSION_TAG] ?? '' });
  return found ?? mlflow.createRun({ ...run, experimentId });
}

async function mirrorModelVersion(
  { mlflow }: MirrorContext,
  of: { version: BehindVersion; content: MlflowContent; name: string; runId: string },
): Promise<string> {
  const { version, content, name, runId } = of;
  const { tags } = content.modelVersion;
  const recorded =
    version.modelVersion === null ? null : await mlflow.findModelVersion(name, { version: version.modelVersion });
  const found = recorded?.runId === runId ? recorded : await mlflow.findModelVersion(name, { runId });
  if (found === null) return (await mlflow.createModelVersion(name, { ...content.modelVersion, runId })).version;
  for (const [key, value] of Object.entries(tags)) {
    if (found.tags.get(key) !== value) await mlflow.setModelVersionTag(name, found.version, { key, value });
  }
  return found.version;
}

/**
 * Puts Freshet's aliases where they are in Freshet and removes those that went. An alias that is set without Freshet's tag
 * is somebody else's and is left alone. Before an alias is set its tag is, and after it is removed its tag goes: cut short,
 * the next try still knows whose it is.
 *
 * @returns a sentence for each alias that somebody else has.
 */
async function mirrorAliases(
  { db, mlflow, target }: MirrorContext,
  { line, name, model }: { line: string; name: string; model: MlflowModel },
): Promise<string[]> {
  const wanted = await aliasesForMlflow(db, { line, target });
  const conflicts: string[] = [];
  for (const { alias, version, modelVersion } of wanted) {
    const current = model.aliases.get(alias);
    const key = `${ALIAS_TAG}${alias}`;
    const ours = model.tags.has(key);
    if (current !== undefined && !ours) {
      conflicts.push(
        `MLflow's alias ${alias} of ${name} was not set by Freshet: remove it there to have it follow version ${String(version)}`,
      );
      continue;
    }
    if (modelVersion === null) continue;
    if (model.tags.get(key) !== String(version)) await mlflow.setModelTag(name, { key, value: String(version) });
    if (current !== modelVersion) await mlflow.setAlias(name, alias, modelVersion);
  }
  const names = new Set(wanted.map(({ alias }) => alias));
  for (const key of model.tags.keys()) {
    const alias = key.startsWith(ALIAS_TAG) ? key.slice(ALIAS_TAG.length) : null;
    if (alias === null || names.has(alias)) continue;
    if (model.aliases.has(alias)) await mlflow.deleteAlias(name, alias);
    await mlflow.deleteModelTag(name, key);
  }
  return conflicts;
}
