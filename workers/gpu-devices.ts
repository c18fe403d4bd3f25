import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { DevicePool } from '../activities/trainer-devices.ts';
import type { WorkerEnvironment } from './environment.ts';

const LIST_TIMEOUT_MS = 10_000;

/**
 * The devices that the gpu worker shares out: FRESHET_GPU_DEVICES, else what CUDA_VISIBLE_DEVICES leaves to this process,
 * else all that `nvidia-smi -L` lists; FRESHET_TRAINERS trainings at a time where there are none.
 *
 * @throws Error when the environment asks for more devices than there are, or names one twice.
 */
export async function findDevices(
  env: Pick<WorkerEnvironment, 'FRESHET_GPU_DEVICES' | 'FRESHET_TRAINERS'>,
  processEnv: NodeJS.ProcessEnv,
  list: () => Promise<string[]>,
): Promise<DevicePool> {
  const visible = processEnv['CUDA_VISIBLE_DEVICES'];
  const there = visible === undefined ? list : () => Promise.resolve(ids(visible));
  const gpus = await chosen(env.FRESHET_GPU_DEVICES, there);
  return new DevicePool(gpus.length === 0 ? { cpuTrainings: env.FRESHET_TRAINERS } : { gpus });
}

async function chosen(asked: string | undefined, there: () => Promise<string[]>): Promise<string[]> {
  if (asked === undefined) return there();
  if (!/^\d+$/.test(asked.trim())) return distinct(ids(asked));
  const count = Number(asked);
  const found = count === 0 ? [] : await there();
  if (count > found.length) {
    throw new Error(
      `FRESHET_GPU_DEVICES asks for ${asked} GPUs and this machine has ${String(found.length)}: lower it, or name devices with commas between (one: "${asked},")`,
    );
  }
  return found.slice(0, count);
}

const ids = (text: string): string[] =>
  text
    .split(',')
    .map((id) => id.trim())
    // CUDA takes -1 for "none from here on".
    .filter((id, place, all) => id !== '' && !all.slice(0, place + 1).includes('-1'));

function distinct(devices: string[]): string[] {
  if (new Set(devices).size === devices.length && devices.length > 0) return devices;
  throw new Error(`FRESHET_GPU_DEVICES names no device or one twice: ${devices.join(', ')}`);
}

/** The GPUs of this machine by `nvidia-smi -L`. `warn` is told when it is there and fails: a broken driver looks like no GPU. */
export async function listDevices(warn: (message: string) => void): Promise<string[]> {
  try {
    const { stdout } = await promisify(execFile)('nvidia-smi', ['-L'], { timeout: LIST_TIMEOUT_MS });
    return parseDevices(stdout);
  } catch (error) {
    const { code, message, stdout } = error as NodeJS.ErrnoException & { stdout?: string };
    if (code !== 'ENOENT') {
      const said = [message, stdout ?? ''].map((text) => text.trim()).filter((text) => text !== '');
      warn(
        `nvidia-smi fails, so trainings run on the CPU (${said.join('; ')}): mend the driver, or set FRESHET_GPU_DEVICES=0 if that is as it should be`,
      );
    }
    return [];
  }
}

/**
 * The ids of what `nvidia-smi -L` lists. They are UUIDs, since CUDA counts devices in another order than the driver; a GPU
 * that is cut into MIG instances is used by these.
 */
export function parseDevices(listed: string): string[] {
  const devices: string[] = [];
  for (const line of listed.split('\n')) {
    const uuid = /\(UUID: ([^)]+)\)/.exec(line)?.[1];
    if (uuid === undefined) continue;
    const isInstance = uuid.startsWith('MIG-');
    if (isInstance && devices.at(-1)?.startsWith('GPU-') === true) devices.pop();
    devices.push(uuid);
  }
  return devices;
}
