import { Worker } from 'node:worker_threads';

/**
 * Starts a worker thread from a module of ours: JavaScript in a build; from source it is compiled by tsx, which threads do
 * not inherit on Node 20.
 *
 * @param beside `import.meta.url` of the caller.
 * @param entry path of the module relative to the caller, without its extension: `./model-thread`.
 */
export function startThread({
  beside,
  entry,
  workerData,
}: {
  beside: string;
  entry: string;
  workerData: unknown;
}): Worker {
  const options = { execArgv: [], workerData };
  if (!beside.endsWith('.ts')) return new Worker(new URL(`${entry}.js`, beside), options);
  const module = JSON.stringify(new URL(`${entry}.ts`, beside).href);
  const tsx = JSON.stringify(import.meta.resolve('tsx/esm/api'));
  return new Worker(`import(${tsx}).then(({ register }) => (register(), import(${module})))`, {
    ...options,
    eval: true,
  });
}
