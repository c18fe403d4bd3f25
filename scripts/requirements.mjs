// What has to be there before any dependency is: read by bootstrap.mjs on a fresh clone, so plain Node alone.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const OLDEST_NODE = '20.19';

/**
 * What is wrong with node_modules, in words; null when it holds what package-lock.json asks for. npm writes its record
 * of what it installed last, so an interrupted installation has none.
 *
 * @param {string} root the folder of package.json
 * @returns {string | null}
 */
export function problemWithDependencies(root) {
  const record = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(record)) return 'not installed yet';
  const wanted = packagesOf(join(root, 'package-lock.json'));
  const installed = packagesOf(record);
  for (const [path, { version, optional }] of Object.entries(wanted)) {
    if (path === '' || (optional && installed[path] === undefined)) continue;
    if (installed[path]?.version !== version) return `${path.replace('node_modules/', '')} is not at ${version}`;
  }
  return null;
}

/** @param {string} file */
function packagesOf(file) {
  return JSON.parse(readFileSync(file, 'utf8')).packages;
}

/** @param {string} version */
export function isSupportedNode(version) {
  const [major, minor] = version.split('.').map(Number);
  const [oldestMajor, oldestMinor] = OLDEST_NODE.split('.').map(Number);
  return major > oldestMajor || (major === oldestMajor && minor >= oldestMinor);
}
