import { readFile } from 'node:fs/promises';
import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { type LineConfig, lineConfigSchema } from './schema.ts';

/** A config file that can not be used. The message is for whoever wrote the file: one line a problem, no stack. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/**
 * The config of a model line from its YAML file, defaults filled in and durations in milliseconds.
 *
 * @throws ConfigError with `file: path: problem` for each problem, or `file:line:column: problem` where it is no YAML.
 */
export async function loadLineConfig(path: string): Promise<LineConfig> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    const why = missing ? 'no such file' : (error as Error).message;
    throw new ConfigError(
      `${path}: ${why}; expected the YAML config of a model line, such as config/simulated-feed.yaml`,
    );
  });
  return parseLineConfig(text, path);
}

/** As `loadLineConfig`, of a text; `name` stands for the file in messages. */
export function parseLineConfig(text: string, name: string): LineConfig {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    const problems = document.errors.map(({ message, pos }) => {
      const { line, col } = lines.linePos(pos[0]);
      return `${name}:${line}:${col}: ${message.replaceAll('\n', ' ')}`;
    });
    throw new ConfigError(problems.join('\n'));
  }
  const parsed = lineConfigSchema.safeParse(document.toJS());
  if (parsed.success) return parsed.data;
  throw new ConfigError(
    parsed.error.issues
      .flatMap((issue) => describe(issue))
      .map((problem) => `${name}: ${problem}`)
      .join('\n'),
  );
}

/** JSON Schema of the config as it is written, for editors: `config/line.schema.json`. */
export function lineConfigJsonSchema(): Record<string, unknown> {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Freshet model line',
    ...z.toJSONSchema(lineConfigSchema, { io: 'input' }),
  };
}

function describe(issue: z.core.$ZodIssue): string[] {
  const path = pathOf(issue.path);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(
      (key) => `${pathOf([...issue.path, key])}: unknown key; see config/line.schema.json for the known ones`,
    );
  }
  if (issue.code === 'invalid_format' && issue.format === 'datetime') {
    return [`${path}: expected a date and time with its zone, such as 2026-01-31T12:00:00Z`];
  }
  const message = issue.message
    .replace(/^Invalid (input|option): /, '')
    .replace('received undefined', 'but it is missing');
  return [`${path}: ${message}`];
}

/** `features[2].kind`, as one would write it. */
function pathOf(path: readonly PropertyKey[]): string {
  const written = path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('');
  return written === '' ? '(the whole file)' : written.replace(/^\./, '');
}
