import { cp, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { bundleWorkflowCode } from '@temporalio/worker';
import { runToEnd } from './stack/processes.ts';
import { projectRoot } from './stack/project.ts';

/**
 * The production build: JavaScript that Node runs as it is, and the workflow code bundled ahead of time, so that every
 * worker of a release runs the same workflow bytes.
 */
async function build(out: string): Promise<void> {
  const root = projectRoot();
  await rm(out, { recursive: true, force: true });
  console.log('compiling');
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const compiled = await runToEnd(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', out], { cwd: root });
  if (compiled.code !== 0) throw new Error(`the sources do not compile:\n${compiled.stdout}`);
  for (const folder of ['scripts', 'scripts/stack', 'store/migrations']) {
    for (const name of await readdir(join(root, folder))) {
      if (!/(?<!\.d)\.(mjs|sql)$/.test(name)) continue;
      await mkdir(join(out, folder), { recursive: true });
      await cp(join(root, folder, name), join(out, folder, name));
    }
  }
  const filter = (path: string): boolean => !/(^|\/)(tests|__pycache__|\.pytest_cache)$/.test(path);
  await cp(join(root, 'trainer'), join(out, 'trainer'), { recursive: true, filter });
  console.log('bundling the workflow code');
  const logger = { log: ignore, trace: ignore, debug: ignore, info: ignore, warn: console.warn, error: console.error };
  const { code } = await bundleWorkflowCode({ workflowsPath: join(root, 'workflows', 'index.ts'), logger });
  await writeFile(join(out, 'workflow-bundle.js'), code);
  console.log(`built: ${out}`);
}

function ignore(): void {}

try {
  await build(resolve(projectRoot(), process.argv[2] ?? 'dist'));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
