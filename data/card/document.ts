import type { Plot } from './plots/svg.ts';

/** What a card says, before it becomes Markdown or HTML. Strings are plain text: each format escapes them. */
export interface CardDocument {
  title: string;
  /** One word beside the title: the status. */
  badge: { text: string; tone: Tone };
  /** Before the first section: what a reader needs first. */
  summary: Block[];
  sections: Section[];
}

export interface Section {
  title: string;
  blocks: Block[];
}

export type Tone = 'good' | 'bad' | 'warn' | 'quiet';

/** A piece of running text. */
export type Inline =
  string | { code: string } | { strong: string } | { href: string; text: string } | readonly Inline[];

export type Block =
  | { kind: 'paragraph'; text: Inline; tone?: Tone }
  /** Names with what they are. */
  | { kind: 'facts'; facts: readonly (readonly [name: string, value: Inline])[] }
  | Table
  | { kind: 'list'; items: readonly Inline[] }
  | { kind: 'figure'; plot: Plot }
  /** Commands, as they are typed. */
  | { kind: 'code'; text: string }
  /** Folded away in HTML: what not every reader wants. */
  | { kind: 'details'; summary: string; blocks: readonly Block[] };

export interface Table {
  kind: 'table';
  caption: string;
  /** A name that begins with `#` is a column of numbers: aligned to the right, without the sign. */
  head: readonly string[];
  /** The first cell of a row names it. */
  rows: readonly (readonly Inline[])[];
}

export function paragraph(text: Inline, tone?: Tone): Block {
  return { kind: 'paragraph', text, ...(tone && { tone }) };
}

export function table(caption: string, head: readonly string[], rows: readonly (readonly Inline[])[]): Block[] {
  return rows.length === 0 ? [] : [{ kind: 'table', caption, head, rows }];
}

/** The plots of a document in their order. */
export function plotsOf({ summary, sections }: CardDocument): Plot[] {
  const inBlocks = (blocks: readonly Block[]): Plot[] =>
    blocks.flatMap((block) =>
      block.kind === 'figure' ? [block.plot] : block.kind === 'details' ? inBlocks(block.blocks) : [],
    );
  return [summary, ...sections.map(({ blocks }) => blocks)].flatMap(inBlocks);
}
