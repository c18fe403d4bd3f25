/**
 * The environment of a trainer's process: this one's, its own, the GPUs that it may see (none: the CPU) and its threads.
 *
 * @param input.own of the reference trainer alone.
 */
export function trainerEnvironment(input: {
  own?: NodeJS.ProcessEnv | undefined;
  gpus: readonly (string | number)[];
  threads: number;
}): NodeJS.ProcessEnv {
  const threads = String(input.threads);
  return {
    ...process.env,
    ...input.own,
    CUDA_VISIBLE_DEVICES: input.gpus.join(','),
    OMP_NUM_THREADS: threads,
    MKL_NUM_THREADS: threads,
  };
}
