import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The package's version, with the commit where the code runs from a checkout: what lineage records as code version. */
export function codeVersion(): string {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const version = packageVersion(root);
  try {
    const commit = execFileSync('git', ['describe', '--always', '--dirty', '--abbrev=12'], {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return `${version}+${commit.trim()}`;
  } catch {
    return version;
  }
}

function packageVersion(root: string): string {
  for (const folder of [root, `${root}../`]) {
    try {
      return (JSON.parse(readFileSync(`${folder}package.json`, 'utf8')) as { version: string }).version;
    } catch {
      continue;
    }
  }
  return 'unknown';
}
