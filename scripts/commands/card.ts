import { mkdir, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { readCard } from '../../activities/version-card.ts';
import { describeCard } from '../../data/card/describe.ts';
import { plotsOf, type CardDocument } from '../../data/card/document.ts';
import { cardMarkdown } from '../../data/card/markdown.ts';
import { cardPage } from '../../data/card/page.ts';
import { plotFile } from '../../data/card/plots/svg.ts';
import { resolveVersion } from '../../store/aliases.ts';
import { readLine } from '../../store/lines.ts';
import { runs } from './run-command.ts';

type Format = 'markdown' | 'html';

const ENDINGS: Record<string, Format> = { '.md': 'markdown', '.html': 'html' };

/** `card LINE VERSION`. */
export function registerCardCommands(program: Command): void {
  runs(
    program
      .command('card')
      .description('the model card of a version: verdict, figures, data, parents, how it was made, limits')
      .argument('<line>')
      .argument('<version>', 'a number, an alias, stable, canary, shadow or latest')
      .option('--out <path>', 'FILE.html, FILE.md (its plots beside it), or a folder for both; printed when left out')
      .addOption(new Option('--format <format>', 'Markdown when left out').choices(['markdown', 'html'])),
    {
      example: 'card news-feed stable --out card.html',
      work: async (access, line: string, name: string, { out, format }: { out?: string; format?: Format }) => {
        const wanted = out === undefined ? null : await destination(out, format);
        const db = await access.database();
        await readLine(db, line);
        const version = await resolveVersion(db, { line, version: name });
        const card = await readCard(db, { line, version });
        const document = describeCard(card);
        if (wanted === null) {
          const text = format === 'html' ? cardPage(document) : cardMarkdown(document);
          return { data: card, text: text.trimEnd() };
        }
        const files = await writeCard(document, wanted);
        return { data: { line, version, files }, text: `written: ${files.join(', ')}` };
      },
    },
  );
}

interface Destination {
  folder: string;
  /** File names without endings begin with this. */
  stem: string;
  formats: Format[];
}

/** A file by its ending, else a folder. @throws Error when a card can not be written so, or ending and format differ. */
async function destination(out: string, format: Format | undefined): Promise<Destination> {
  const path = resolve(out);
  const extension = extname(path);
  const ending = ENDINGS[extension.toLowerCase()];
  if (ending === undefined) {
    const there = await stat(path).catch(() => null);
    if (extension !== '' && there?.isDirectory() !== true)
      throw new Error(`--out ${out}: a card is a .html or a .md file; a folder of this name must be there before`);
    return { folder: path, stem: '', formats: format === undefined ? ['markdown', 'html'] : [format] };
  }
  if (format !== undefined && format !== ending)
    throw new Error(
      `--out ${out} asks for ${ending} and --format for ${format}: leave --format out, or change the ending`,
    );
  return { folder: dirname(path), stem: basename(path, extname(path)), formats: [ending] };
}

/** @returns the paths, the card itself first. */
async function writeCard(document: CardDocument, { folder, stem, formats }: Destination): Promise<string[]> {
  const plotName = (name: string): string => `${stem === '' ? '' : `${stem}-`}${name}.svg`;
  const card = stem === '' ? 'card' : stem;
  const contents: [name: string, content: string][] = [];
  if (formats.includes('html')) contents.push([`${card}.html`, cardPage(document)]);
  if (formats.includes('markdown')) {
    contents.push([`${card}.md`, cardMarkdown(document, { plot: ({ name }) => plotName(name) })]);
    for (const plot of plotsOf(document)) contents.push([plotName(plot.name), plotFile(plot)]);
  }
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw new Error(`${folder} can not be a folder: name another one with --out, or a file that ends in .html or .md`, {
      cause: error,
    });
  });
  for (const [name, content] of contents) await writeFile(join(folder, name), content);
  return contents.map(([name]) => join(folder, name));
}
