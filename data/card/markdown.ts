import { plotsOf, type Block, type CardDocument, type Inline, type Table, type Tone } from './document.ts';
import { clean, type Plot } from './plots/svg.ts';

/**
 * GitHub-flavoured Markdown. Plots are files of their own; without `plot` the text says what they show.
 *
 * @param options.plot where the file of a plot is, relative to the Markdown.
 */
export function cardMarkdown(
  document: CardDocument,
  { plot = null }: { plot?: ((plot: Plot) => string) | null } = {},
): string {
  const { title, badge, summary, sections } = document;
  const blocks = (all: readonly Block[]): string[] =>
    all.map((block) => blockText(block, plot)).filter((text) => text !== '');
  return `${[
    `# ${escape(title)} (${escape(badge.text)})`,
    ...blocks(summary),
    ...sections.flatMap((section) => [`## ${escape(section.title)}`, ...blocks(section.blocks)]),
    ...(plot === null && plotsOf(document).length > 0
      ? ['*Plots: `freshet card LINE VERSION --out FOLDER` writes them beside the card.*']
      : []),
  ].join('\n\n')}\n`;
}

const MARKS: Record<Tone, string> = { good: '> ✅ ', bad: '> ⛔ ', warn: '> ⚠️ ', quiet: '> ' };

function blockText(block: Block, plot: ((plot: Plot) => string) | null): string {
  switch (block.kind) {
    case 'paragraph':
      return block.tone === undefined
        ? guarded(inline(block.text))
        : `${MARKS[block.tone]}${guarded(inline(block.text))}`;
    case 'facts':
      return [
        '| fact | value |',
        '| --- | --- |',
        ...block.facts.map(([name, value]) => row([escape(name), inline(value)])),
      ].join('\n');
    case 'table':
      return tableText(block);
    case 'list':
      return block.items.map((item) => `- ${guarded(inline(item))}`).join('\n');
    case 'figure':
      return plot === null
        ? ''
        : `![${escape(`${block.plot.title}. ${block.plot.description}`)}](${encodeURI(plot(block.plot))})`;
    case 'code':
      return `\`\`\`sh\n${block.text.replaceAll('`', '')}\n\`\`\``;
    case 'details':
      return [`**${escape(block.summary)}**`, ...block.blocks.map((inside) => blockText(inside, plot))]
        .filter((text) => text !== '')
        .join('\n\n');
  }
}

function tableText({ caption, head, rows }: Table): string {
  const numeric = head.map((name) => name.startsWith('#'));
  const names = head.map((name) => escape(name.replace(/^#/, '')));
  const cells = rows.map((cellsOf) => row(names.map((_, index) => inline(cellsOf[index] ?? ''))));
  return [
    `*${escape(caption)}*`,
    '',
    row(names),
    row(numeric.map((isNumber) => (isNumber ? '---:' : '---'))),
    ...cells,
  ].join('\n');
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

function inline(text: Inline): string {
  if (typeof text === 'string') return escape(text);
  if ('code' in text) return code(text.code);
  if ('strong' in text) return text.strong.trim() === '' ? '' : `**${escape(text.strong.trim())}**`;
  if ('href' in text) return `[${escape(text.text)}](<${text.href.replace(/[<>\s]/g, encodeURIComponent)}>)`;
  return text.map(inline).join('');
}

/** Text that Markdown shows as it is: nothing in it is markup, a link or a line of its own. */
export function escape(text: string): string {
  return flat(text)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replace(/[\\`*_{}[\]#|~$!]/g, '\\$&')
    .replace(/(https?:)(\/\/)/gi, '$1&#8203;$2')
    .replace(/\b(www)\./gi, '$1&#8203;.')
    .replace(/(^|[^\w])@(?=\w)/g, '$1&#64;');
}

/** The beginning of a paragraph or an item that would make it a list, a heading or a rule. */
function guarded(text: string): string {
  return text
    .trimStart()
    .replace(/^([-+=])/, '\\$1')
    .replace(/^(\d+)([.)])/, '$1\\$2');
}

function code(text: string): string {
  const shown = flat(text).replaceAll('|', '\\|');
  if (shown.trim() === '') return '';
  const longest = Math.max(0, ...[...shown.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const fence = '`'.repeat(longest + 1);
  return longest === 0 ? `${fence}${shown}${fence}` : `${fence} ${shown} ${fence}`;
}

function flat(text: string): string {
  return clean(text.replace(/\s+/g, ' '));
}
