import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { findDevices, listDevices, parseDevices } from '../../workers/gpu-devices.ts';

const two = (): Promise<string[]> => Promise.resolve(['GPU-a', 'GPU-b']);
const none = (): Promise<string[]> => Promise.resolve([]);

const cases: [string, { asked?: string; visible?: string; list: () => Promise<string[]> }, string[]][] = [
  ['all that are there', { list: two }, ['GPU-a', 'GPU-b']],
  ['as many as asked for', { asked: '1', list: two }, ['GPU-a']],
  ['those that are named', { asked: '3, 5', list: two }, ['3', '5']],
  ['the one that is named', { asked: '3,', list: two }, ['3']],
  ['what CUDA_VISIBLE_DEVICES leaves', { visible: '1,2', list: two }, ['1', '2']],
  ['what CUDA_VISIBLE_DEVICES leaves, up to -1', { visible: '1,-1,2', list: two }, ['1']],
  ['the CPU where there is no GPU', { list: none }, []],
  ['the CPU when none is wanted', { asked: '0', list: two }, []],
  ['the CPU when all are hidden', { visible: '', list: two }, []],
];

it.each(cases)('shares out %s', async (_, { asked, visible, list }, expected) => {
  const pool = await findDevices(
    { FRESHET_TRAINERS: 3, ...(asked !== undefined && { FRESHET_GPU_DEVICES: asked }) },
    { ...(visible !== undefined && { CUDA_VISIBLE_DEVICES: visible }) },
    list,
  );

  expect(pool.size).toBe(expected.length || 3);
  const lease = await pool.acquire({ wanted: pool.size, signal: AbortSignal.timeout(1_000), onWait: () => undefined });
  expect(lease.gpus).toEqual(expected);
});

it.each([
  ['4', /asks for 4 GPUs and this machine has 2/],
  ['1,1', /one twice/],
  [',', /no device/],
])('refuses FRESHET_GPU_DEVICES=%s', async (asked, message) => {
  await expect(findDevices({ FRESHET_TRAINERS: 1, FRESHET_GPU_DEVICES: asked }, {}, two)).rejects.toThrow(message);
});

afterEach(() => {
  vi.unstubAllEnvs();
});

it.each([
  ['says so when nvidia-smi fails', '#!/bin/sh\necho "Driver/library version mismatch"; exit 18\n', /version mismatch/],
  ['is silent where there is no nvidia-smi', null, null],
])('%s, and has no GPUs', async (_, script, expected) => {
  const folder = await mkdtemp(join(tmpdir(), 'freshet-smi-'));
  if (script !== null) {
    await writeFile(join(folder, 'nvidia-smi'), script);
    await chmod(join(folder, 'nvidia-smi'), 0o755);
  }
  vi.stubEnv('PATH', folder);
  const said: string[] = [];

  expect(await listDevices((message) => said.push(message))).toEqual([]);

  expect(said).toHaveLength(expected === null ? 0 : 1);
  if (expected !== null) expect(said[0]).toMatch(expected);
  await rm(folder, { recursive: true });
});

it('reads what nvidia-smi lists: UUIDs, and the parts of a GPU that is cut up', () => {
  const listed = `GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-11111111-2222-3333-4444-555555555555)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-66666666-2222-3333-4444-555555555555)
  MIG 1g.10gb     Device  0: (UUID: MIG-aaaaaaaa-2222-3333-4444-555555555555)
  MIG 1g.10gb     Device  1: (UUID: MIG-bbbbbbbb-2222-3333-4444-555555555555)
`;
  expect(parseDevices(listed)).toEqual([
    'GPU-11111111-2222-3333-4444-555555555555',
    'MIG-aaaaaaaa-2222-3333-4444-555555555555',
    'MIG-bbbbbbbb-2222-3333-4444-555555555555',
  ]);
});
