import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { lineConfigJsonSchema } from '../config/load.ts';
import { projectRoot } from './stack/project.ts';

/** Writes `config/line.schema.json`; a config names it in its first line: `# yaml-language-server: $schema=line.schema.json`. */
const file = join(projectRoot(), 'config', 'line.schema.json');
const text = JSON.stringify(lineConfigJsonSchema());
await writeFile(file, await format(text, { ...(await resolveConfig(file)), filepath: file }));
console.log(`written: ${file}`);
