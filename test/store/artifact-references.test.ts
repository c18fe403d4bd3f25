import { expect, it } from 'vitest';
import { snapshotArtifacts } from '../../store/artifact-references.ts';

const file = (sha256: string): object => ({ sha256, bytes: 1, rows: 1 });

it.each<[string, unknown, string[]]>([
  [
    'files and profiles',
    { files: { train: [file('t1'), file('t2')], holdout: [] }, profiles: { fresh: file('p'), unlabelled: null } },
    ['manifest id', 'train t1', 'train t2', 'profiles p'],
  ],
  ['no profiles, as the first contract has none', { files: { train: [file('t')] } }, ['manifest id', 'train t']],
  [
    'a part of a later contract, which stays with the manifest',
    { files: { train: [file('t')], weights: [file('w')] } },
    ['manifest id', 'train t', 'manifest w'],
  ],
  [
    'a part and a profile that can not be read, beside others',
    { files: { train: [file('t')], replay: 'none' }, profiles: { fresh: 7, unlabelled: file('p') } },
    ['manifest id', 'train t', 'profiles p'],
  ],
  ['what is no manifest', null, ['manifest id']],
])('a snapshot refers to its %s', (_, manifest, expected) => {
  const found = snapshotArtifacts({ snapshotId: 'id', manifest });
  expect(found.map(({ part, sha256 }) => `${part} ${sha256}`)).toEqual(expected);
});
