import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { resolveVersion } from '../../store/aliases.ts';
import { openLocalArtifacts } from '../../store/artifacts.ts';
import { readLine } from '../../store/lines.ts';
import { whyRemoved } from '../../store/removed-artifacts.ts';
import { codeVersion } from '../../workers/code-version.ts';
import { reproduceVersion, type Reproduction } from '../reproduce/reproduce.ts';
import { messageOf } from '../stack/say.ts';
import { runs, table } from './run-command.ts';

/** `reproduce`. */
export function registerReproduceCommand(program: Command): void {
  runs(
    program
      .command('reproduce')
      .description('train a version again from its lineage and compare: on the CPU model.onnx has the same bytes')
      .argument('<line>')
      .argument('<version>', 'a number, an alias, stable, canary, shadow or latest')
      .option('--keep <folder>', 'leave manifests and outputs in this folder, which must be empty')
      .option('--with-parents', 'train parents again whose checkpoints are gone, as far as their snapshots are there'),
    {
      example: 'reproduce news-feed 12 --keep /tmp/version-12',
      work: async (access, line: string, name: string, options: { keep?: string; withParents?: boolean }) => {
        const db = await access.database();
        await readLine(db, line);
        const version = await resolveVersion(db, { line, version: name });
        const root = (await access.installation()).artifacts;
        const folder = await workFolder(options.keep);
        const stop = new AbortController();
        const onSignal = (): void => {
          stop.abort();
        };
        // However often somebody presses Ctrl-C: the trainer gets its time to leave, and is ended then.
        process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
        try {
          const reproduction = await reproduceVersion({
            ...{ db, line, version, folder, withParents: options.withParents === true, signal: stop.signal },
            artifacts: openLocalArtifacts(root, { whyRemoved: whyRemoved(db) }),
            codeVersion: codeVersion(),
            env: access.env,
            say: (what) => {
              if (process.stderr.isTTY) console.error(`${what} ...`);
            },
          });
          const kept = options.keep === undefined ? {} : { folder };
          const text = [describe(reproduction), ...(options.keep === undefined ? [] : [`kept: ${folder}`])].join('\n');
          return { data: { ...reproduction, ...kept }, text, ok: reproduction.verdict === 'identical' };
        } finally {
          process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
          if (options.keep === undefined) await rm(folder, { recursive: true, force: true });
        }
      },
    },
  );
}

async function workFolder(keep: string | undefined): Promise<string> {
  if (keep === undefined) return mkdtemp(join(tmpdir(), 'freshet-reproduce-'));
  const folder = resolve(keep);
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw new Error(`${folder} can not be a folder (${messageOf(error)}): name another one with --keep`);
  });
  if ((await readdir(folder)).length > 0) throw new Error(`${folder} is not empty: name another folder, or empty it`);
  return folder;
}

function describe(of: Reproduction): string {
  const { line, version, verdict, parent, device } = of;
  const title = `version ${String(version)} of ${line}`;
  const files = of.files.map(({ name, recorded, reproduced, same }) => [
    name,
    same ? 'the same bytes' : 'differs',
    `${recorded?.slice(0, 12) ?? 'not recorded'} -> ${reproduced?.slice(0, 12) ?? 'not there'}`,
  ]);
  const differing = [...of.metrics, ...of.circumstances].map(({ what, recorded, now }) => [what, recorded, now]);
  const lines = [
    ...(parent === null ? [] : [describe(parent), '']),
    `${title}: ${verdict}`,
    table(files),
    ...(of.predictions === null
      ? []
      : [`probabilities of ${String(of.predictions.rows)} rows differ by ${String(of.predictions.largest)} at most`]),
    ...(differing.length === 0 ? [] : ['', table([['', 'recorded', 'now'], ...differing])]),
  ];
  if (verdict === 'identical') return lines.join('\n');
  if (parent?.verdict === 'different')
    lines.push('', `its parent, version ${String(parent.version)}, came out different`);
  if (device !== 'cpu')
    lines.push('', `it was trained on ${device}: only on the CPU are the bytes sure to be the same`);
  return lines.join('\n');
}
