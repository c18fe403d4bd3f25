import { cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runToEnd } from '../../scripts/stack/processes.ts';
import { projectRoot } from '../../scripts/stack/project.ts';

/** What the servers under test start from, threads included. */
const ENTRIES = [
  ...['serving/main.ts', 'serving/log-thread.ts', 'scoring/model-thread.ts', 'bench/gateway/bare.ts'],
  ...['bench/serving-threads/server.ts', 'bench/serving-threads/model-process.ts'],
];

/**
 * Compiles the servers into `folder`, as `npm run build` does: from the sources each thread would start with a compiler of
 * its own, which takes time and memory that production does not.
 *
 * @param more further programs, by their paths in the project.
 */
export async function compileServers(folder: string, more: readonly string[] = []): Promise<void> {
  const root = projectRoot();
  await mkdir(folder, { recursive: true });
  const config = join(folder, 'tsconfig.json');
  await writeFile(
    config,
    JSON.stringify({
      extends: join(root, 'tsconfig.json'),
      compilerOptions: {
        noCheck: true,
        outDir: folder,
        rootDir: root,
        typeRoots: [join(root, 'node_modules', '@types')],
      },
      include: [],
      files: [...ENTRIES, ...more].map((entry) => join(root, entry)),
    }),
  );
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const { code, stdout } = await runToEnd(process.execPath, [tsc, '-p', config], { cwd: root });
  if (code !== 0) throw new Error(`the servers do not compile:\n${stdout.slice(0, 2_000)}`);
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  await cp(join(root, 'package.json'), join(folder, 'package.json'));
}
