import { html, Html } from '../report/html.ts';
import type { Block, CardDocument, Inline, Table } from './document.ts';
import { PAGE_STYLE } from './page-style.ts';
import { clean } from './plots/svg.ts';

/** One page that needs nothing else: no script, no font, no network. */
export function cardPage({ title, badge, summary, sections }: CardDocument): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${clean(title)}</title>
        ${PAGE_STYLE}
      </head>
      <body>
        <main>
          <header>
            <h1>${clean(title)} <span class="badge ${badge.tone}">${clean(badge.text)}</span></h1>
            ${summary.map(blockMarkup)}
          </header>
          ${sections.length === 0 ? null : navigation(sections)}
          ${sections.map(
            (section) =>
              html`<section aria-labelledby="${anchor(section.title)}">
                <h2 id="${anchor(section.title)}">${section.title}</h2>
                ${section.blocks.map(blockMarkup)}
              </section>`,
          )}
        </main>
      </body>
    </html> `.markup;
}

function navigation(sections: CardDocument['sections']): Html {
  return html`<nav aria-label="Sections">
    ${sections.map((section) => html`<a href="#${anchor(section.title)}">${section.title}</a> `)}
  </nav>`;
}

function anchor(title: string): string {
  return title.toLowerCase().replace(/[^a-z0-9]+/g, '-');
}

function blockMarkup(block: Block): Html {
  switch (block.kind) {
    case 'paragraph':
      return block.tone === undefined
        ? html`<p>${inline(block.text)}</p>`
        : html`<p class="callout ${block.tone}">${inline(block.text)}</p>`;
    case 'facts':
      return html`<dl class="facts">
        ${block.facts.map(
          ([name, value]) =>
            html`<div>
              <dt>${clean(name)}</dt>
              <dd>${inline(value)}</dd>
            </div>`,
        )}
      </dl>`;
    case 'table':
      return tableMarkup(block);
    case 'list':
      return html`<ul>
        ${block.items.map((item) => html`<li>${inline(item)}</li>`)}
      </ul>`;
    case 'figure':
      return html`<figure>
        <div class="wide" tabindex="0" role="group" aria-label="${clean(block.plot.title)}">${block.plot.markup}</div>
        <figcaption><b>${clean(block.plot.title)}.</b> ${clean(block.plot.description)}</figcaption>
      </figure>`;
    case 'code':
      return html`<pre><code>${clean(block.text)}</code></pre>`;
    case 'details':
      return html`<details>
        <summary>${clean(block.summary)}</summary>
        ${block.blocks.map(blockMarkup)}
      </details>`;
  }
}

function tableMarkup({ caption, head, rows }: Table): Html {
  const names = head.map((name) => name.replace(/^#/, ''));
  const look = (index: number): string => (head[index]?.startsWith('#') === true ? 'n' : '');
  return html`<div class="wide" tabindex="0" role="group" aria-label="${clean(caption)}">
    <table>
      <caption>
        ${clean(caption)}
      </caption>
      <thead>
        <tr>
          ${names.map((name, index) => html`<th scope="col" class="${look(index)}">${clean(name)}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (cells) =>
            html`<tr>
              ${names.map((_, index) =>
                index === 0
                  ? html`<th scope="row" class="${look(index)}">${inline(cells[index] ?? '')}</th>`
                  : html`<td class="${look(index)}">${inline(cells[index] ?? '')}</td>`,
              )}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

function inline(text: Inline): Html {
  if (typeof text === 'string') return html`${clean(text)}`;
  if ('code' in text) return html`<code>${clean(text.code)}</code>`;
  if ('strong' in text) return html`<strong>${clean(text.strong)}</strong>`;
  if ('href' in text) return html`<a href="${clean(text.href)}">${clean(text.text)}</a>`;
  return new Html(text.map((part) => inline(part).markup).join(''));
}
