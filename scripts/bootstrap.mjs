// Runs one of our TypeScript entry points on a fresh clone: `node scripts/bootstrap.mjs scripts/demo.ts --speed 4`.
// Plain Node without dependencies, because it is what installs them: `npm ci`, when node_modules is missing, was left
// half-made or does not match package-lock.json.
import { spawnSync } from 'node:child_process';
import { dirname, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { isSupportedNode, OLDEST_NODE, problemWithDependencies } from './requirements.mjs';

async function main() {
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  if (!isSupportedNode(process.versions.node)) {
    fail(`Freshet needs Node.js ${OLDEST_NODE} or newer, this is ${process.versions.node}`);
  }
  const problem = problemWithDependencies(root);
  if (problem !== null) {
    console.log(`npm packages: ${problem}; running npm ci (about 700 MB on disk, once)`);
    const npm = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
      cwd: root,
      env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' },
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    if (npm.status !== 0) fail('npm ci failed: see above; check the network and run it again');
  }
  const [script, ...args] = process.argv.slice(2);
  if (script === undefined) return;
  const entry = resolve(root, script);
  process.argv = [process.argv[0], entry, ...args];
  const { register } = await import('tsx/esm/api');
  register();
  await import(pathToFileURL(entry).href);
}

/** @param {string} message */
function fail(message) {
  console.error(message);
  process.exit(1);
}

await main();
