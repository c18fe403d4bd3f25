import { mkdtemp, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lineConfigSchema } from '../../config/schema.ts';
import { openLocalInventory, type ArtifactInventory } from '../../store/artifact-inventory.ts';
import { openLocalArtifacts, type ArtifactStore } from '../../store/artifacts.ts';
import { claimCycle } from '../../store/cycles.ts';
import type { Database } from '../../store/database.ts';
import { applyLine } from '../../store/lines.ts';
import { whyRemoved } from '../../store/removed-artifacts.ts';
import { currentRoute, moveRoute, promote } from '../../store/routes.ts';
import { saveSnapshot } from '../../store/snapshots.ts';
import { createVersion } from '../../store/versions.ts';
import { createTestDatabase } from '../rig/database.ts';
import { alert, canary, moved } from './stage.ts';

export const DAY = 86_400_000;
/** Nothing is kept for its age or number: only what must never go stays. */
const KEEP_LITTLE = { versions: 0, for: 0, stables: 3 };

interface NewVersion {
  /** Content of its model; its own when left out. */
  model?: string;
}

/** Model lines with their files in a real artifact store, which all were put there eight days before `nowMs`. */
export class RetentionStage {
  readonly db: Database;
  readonly url: string;
  readonly folder: string;
  readonly artifacts: ArtifactStore;
  readonly inventory: ArtifactInventory;
  readonly nowMs: number;
  readonly #names = new Map<string, string>();
  readonly #close: () => Promise<void>;

  private constructor(of: { db: Database; url: string; folder: string; nowMs: number; close: () => Promise<void> }) {
    this.db = of.db;
    this.url = of.url;
    this.folder = of.folder;
    this.nowMs = of.nowMs;
    this.artifacts = openLocalArtifacts(of.folder, { whyRemoved: whyRemoved(of.db) });
    this.inventory = openLocalInventory(of.folder);
    this.#close = of.close;
  }

  /** @param nowMs ten days later when left out: what was routed while lines were built was routed long ago. */
  static async create(nowMs = Date.now() + 10 * DAY): Promise<RetentionStage> {
    const [database, folder] = await Promise.all([createTestDatabase(), mkdtemp(join(tmpdir(), 'freshet-retention-'))]);
    const close = async (): Promise<void> => {
      await database.drop();
      await rm(folder, { recursive: true, force: true });
    };
    return new RetentionStage({ db: database.db, url: database.url, folder, nowMs, close });
  }

  close(): Promise<void> {
    return this.#close();
  }

  /** `news 3 model`: the file's name where it has one. */
  nameOf(sha256: string): string {
    return this.#names.get(sha256) ?? sha256;
  }

  sha256Of(name: string): string {
    const found = [...this.#names].find(([, known]) => known === name);
    if (found === undefined) throw new Error(`no artifact "${name}" was put`);
    return found[0];
  }

  /** Names of the files that are there. */
  async stored(): Promise<string[]> {
    const found: string[] = [];
    for await (const { name } of this.inventory.list()) found.push(this.nameOf(name));
    return found.sort();
  }

  async put(name: string, content = name): Promise<string> {
    const { sha256 } = await this.artifacts.put(Buffer.from(content));
    await this.age(sha256, 8 * DAY);
    this.#names.set(sha256, name);
    return sha256;
  }

  /** Makes a file as old as this. */
  async age(sha256: string, ms: number): Promise<void> {
    const at = new Date(this.nowMs - ms);
    await utimes(join(this.folder, sha256.slice(0, 2), sha256), at, at);
  }

  async claim(line: string, number: number): Promise<string> {
    const cycleId = `${line}-${String(number)}`;
    const claim = { line, cycleId, workflowId: cycleId, runId: cycleId, trigger: 'test' };
    await claimCycle(this.db, { ...claim, isRunOver: () => Promise.resolve(false) });
    return cycleId;
  }

  async snapshot(line: string, number: number): Promise<string> {
    const file = async (part: string): Promise<object> => {
      const content = `${line} ${String(number)} ${part}`;
      return { sha256: await this.put(content), bytes: content.length, rows: 1 };
    };
    const [train, holdout, fresh] = await Promise.all(['train', 'holdout', 'profile'].map(file));
    const snapshotId = await this.put(`${line} ${String(number)} manifest`);
    const files = { train: [train], replay: [], holdout: [holdout], historical: [], unlabelled: [] };
    const cutoffMs = number * DAY;
    const times = { cutoffMs, splitMs: cutoffMs, windowStartMs: cutoffMs - DAY, eventNowMs: cutoffMs };
    const manifest = { files, profiles: { fresh, unlabelled: null }, ...times };
    await saveSnapshot(this.db, { snapshotId, line, cycleId: `${line}-${String(number)}`, manifest });
    return snapshotId;
  }

  /** Versions 1 to `count`, each a child of the one before, each stable after it. */
  async history(line: string, count: number, first: NewVersion = {}): Promise<void> {
    const features = [{ kind: 'numeric' as const, name: 'age' }];
    const config = lineConfigSchema.parse({ line, features, retention: KEEP_LITTLE });
    await applyLine(this.db, { config, who: 'test' });
    for (let number = 1; number <= count; number += 1) {
      const cycleId = await this.claim(line, number);
      await this.#register(line, number, number === 1 ? first : {});
      await this.#promote(cycleId, line, number);
    }
  }

  async #register(line: string, number: number, { model }: NewVersion): Promise<void> {
    const parent = number === 1 ? null : number - 1;
    const cycleId = `${line}-${String(number)}`;
    const put = (part: string, content?: string): Promise<string> =>
      this.put(`${line} ${String(number)} ${part}`, content);
    const config = lineConfigSchema.parse({ line, features: [{ kind: 'numeric', name: 'age' }] });
    const [modelSha256, checkpointSha256, trainerManifestSha256, predictionsSha256, resultSha256, snapshotId] =
      await Promise.all([
        ...[put('model', model), put('checkpoint'), put('trainer manifest'), put('predictions'), put('result')],
        this.snapshot(line, number),
      ] as const);
    await createVersion(this.db, {
      ...{ line, cycleId, effectKey: `${cycleId}/register`, parent, features: [], metrics: {} },
      ...{ modelSha256, checkpointSha256, trainingCutoffMs: number * DAY },
      lineage: {
        ...{ parent, strategy: parent === null ? 'full' : 'incremental', config, configHash: '', features: [] },
        ...{ snapshotId, trainerManifestSha256, predictionsSha256, resultSha256 },
        ...{ codeVersion: '', seed: 1, threads: 1, environment: {}, cycleId, workflowId: '', runId: '' },
      },
    });
  }

  async #promote(cycleId: string, line: string, version: number): Promise<void> {
    const { epoch, stable } = await currentRoute(this.db, line);
    const by = { cycleId, who: 'test', why: 'test' };
    const direct = stable === 0;
    if (!direct) {
      const move = { ...by, line, next: canary(stable, version), expectedEpoch: epoch, leaseMs: 60_000 };
      moved(await moveRoute(this.db, { ...move, effectKey: `${cycleId}/canary` }));
    }
    const expectedEpoch = direct ? epoch : epoch + 1;
    const effectKey = `${cycleId}/promote`;
    moved(await promote(this.db, { ...by, version, expectedEpoch, effectKey, alert: alert(effectKey), direct }));
  }
}
