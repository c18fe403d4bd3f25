import { type Command, InvalidArgumentError } from 'commander';
import { messageOf } from '../stack/say.ts';
import { Access } from './access.ts';

export interface CommandResult {
  /** What `--json` prints. */
  data: unknown;
  /** What people read. */
  text: string;
  /** False ends the process with 1 although an answer was printed; true when left out. */
  ok?: boolean;
}

/** What the users of `--who` are when they do not say. */
export function defaultWho(env: NodeJS.ProcessEnv = process.env): string {
  return env['USER'] ?? env['LOGNAME'] ?? 'operator';
}

/**
 * Adds `--json` and an example to a command and runs it with connections that are closed afterwards. An error is one
 * message on standard error and exit code 1.
 */
export function runs(
  command: Command,
  { example, work }: { example: string; work: (access: Access, ...args: never[]) => Promise<CommandResult> },
): Command {
  return command
    .option('--json', 'print one JSON document')
    .addHelpText('after', `\nExample:\n  $ freshet ${example}`)
    .action(async (...given: unknown[]) => {
      // Commander appends the command itself.
      const args = given.slice(0, -1) as never[];
      const json = command.opts<{ json?: boolean }>().json === true;
      const access = new Access();
      try {
        const { data, text, ok = true } = await work(access, ...args);
        console.log(json ? JSON.stringify(data, null, 2) : text);
        if (!ok) process.exitCode = 1;
      } catch (error) {
        const message = explain(error);
        if (json) console.log(JSON.stringify({ error: message }));
        console.error(message);
        process.exitCode = 1;
      } finally {
        await access.close();
      }
    });
}

/** Reads an option that says how many. */
export function positiveInteger(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('expected a whole number of 1 or more.');
}

/** Columns as wide as their widest cell; what people wrote in several lines is one. */
export function table(lines: readonly (readonly string[])[]): string {
  const rows = lines.map((row) => row.map((cell) => cell.replaceAll(/\s*[\r\n]+\s*/g, ' ')));
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** `2026-01-31 12:00:05 UTC` */
export function time(at: Date | string): string {
  return `${new Date(at).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

function explain(error: unknown): string {
  if (error instanceof Error && 'code' in error && error.code === '42P01') {
    return 'the database has no Freshet schema yet, or an old one: run "freshet migrate"';
  }
  return messageOf(error);
}
