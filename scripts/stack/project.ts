import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** The folder of package.json, whether this runs from the sources or from `dist`. */
export function projectRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder;
    if (folder === dirname(folder))
      throw new Error('package.json was not found above scripts/: is the checkout complete?');
  }
}

/** Arguments for `node` that run one of our own entry points: compiled where this is compiled, else through tsx. */
export function entryPoint(path: string): string[] {
  if (import.meta.url.endsWith('.ts')) return ['--import', import.meta.resolve('tsx'), join(projectRoot(), path)];
  return [fileURLToPath(new URL(`../../${path.replace(/\.ts$/, '.js')}`, import.meta.url))];
}

/** Whether the module with this `import.meta.url` is what was run, rather than imported by a test. */
export function isMain(moduleUrl: string): boolean {
  return process.argv[1] !== undefined && moduleUrl === pathToFileURL(process.argv[1]).href;
}
