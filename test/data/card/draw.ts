import { parseHTML } from 'linkedom';
import type { CardLinks, VersionCard } from '../../../data/card/card.ts';
import { describeCard } from '../../../data/card/describe.ts';
import { plotsOf } from '../../../data/card/document.ts';
import { cardMarkdown } from '../../../data/card/markdown.ts';
import { cardPage } from '../../../data/card/page.ts';

/** What the tests read of a page; the compiler knows no DOM here. */
export interface Element {
  textContent: string;
  getAttribute(name: string): string | null;
  querySelector(selector: string): Element | null;
  querySelectorAll(selector: string): Iterable<Element> & { length: number };
}

/** A card in both formats, and what a reader of the page sees. */
export function draw(of: VersionCard, links: CardLinks = {}) {
  const document = describeCard(of, links);
  const page = cardPage(document);
  const { body } = (parseHTML(page) as unknown as { document: { body: Element } }).document;
  const markdown = cardMarkdown(document, { plot: ({ name }) => `${name}.svg` });
  const text = body.textContent.replace(/\s+/g, ' ');
  const header = body.querySelector('header')?.textContent.replace(/\s+/g, ' ') ?? '';
  return { page, body, text, header, markdown, plots: plotsOf(document) };
}
