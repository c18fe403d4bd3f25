import { runToEnd } from './processes.ts';

/** One line for the operator on what the gpu worker will train on: the devices that the driver lists, or the CPU. */
export async function describeTrainingDevice(): Promise<string> {
  const listed = await runToEnd('nvidia-smi', ['-L'], { timeoutMs: 5_000 });
  const devices = listed.code === 0 ? listed.stdout.split('\n').filter((line) => line.startsWith('GPU ')) : [];
  const [first] = devices;
  if (first === undefined) return 'gpu worker: no NVIDIA GPU here, so training runs on the CPU';
  return `gpu worker: ${String(devices.length)} GPU(s) for training, the first ${first.replace(/ \(UUID.*/, '')}`;
}
