import { html as svg, type Html } from '../../report/html.ts';

/** A drawing with its text equivalents. */
export interface Plot {
  /** File name without its ending; unique in a card. */
  name: string;
  title: string;
  /** What it shows, in a sentence or two, for those who do not see it. */
  description: string;
  markup: Html;
}

export const PLOT_WIDTH = 720;

/** Colours by class, so that a page and a file of its own follow the reader's light or dark. */
export const PLOT_STYLE = `
.plot { --ink: #1b2430; --dim: #5b6470; --grid: #e3e7ec; --paper: #ffffff; --challenger: #1d6fa5; --champion: #7b8794; --alarm: #c1272d; --band: #cfe3f1;
  font: 12px/1.3 system-ui, -apple-system, "Segoe UI", sans-serif; }
.plot text { fill: var(--ink); font-variant-numeric: tabular-nums; }
.plot .dim { fill: var(--dim); font-size: 11px; }
.plot .strong { font-weight: 600; }
.plot .end { text-anchor: end; }
.plot .middle { text-anchor: middle; }
.plot .grid { stroke: var(--grid); }
.plot .axis { stroke: var(--dim); }
.plot .reference { stroke: var(--dim); stroke-dasharray: 2 3; }
.plot .limit { stroke: var(--alarm); stroke-dasharray: 5 3; }
.plot .limit-text { fill: var(--alarm); font-size: 11px; }
.plot .challenger { stroke: var(--challenger); stroke-width: 2; fill: none; }
.plot .challenger.dot { fill: var(--challenger); stroke: none; }
.plot .champion { stroke: var(--champion); stroke-width: 2; fill: none; }
.plot .champion.dot { fill: var(--paper); }
.plot .challenger.area { fill: var(--challenger); stroke: none; }
.plot .champion.area { fill: var(--champion); stroke: none; }
.plot .pale { fill: var(--band); stroke: var(--challenger); stroke-width: 1; }
.plot .hollow { fill: none; stroke: var(--dim); stroke-width: 1; }
.plot .waiting { fill: none; stroke: var(--dim); stroke-dasharray: 2 3; }
.plot .alarm { fill: var(--alarm); fill-opacity: 0.25; stroke: var(--alarm); stroke-width: 1; }
.plot .paper { fill: var(--paper); }
@media (prefers-color-scheme: dark) {
  .plot { --ink: #e4e8ee; --dim: #9aa5b1; --grid: #333c47; --paper: #161b22; --challenger: #5fb3e6; --champion: #a3adb8; --alarm: #ff7b72; --band: #1e425b; }
}
@media print {
  .plot { --ink: #000; --dim: #444; --grid: #ddd; --paper: #fff; --challenger: #1d6fa5; --champion: #7b8794; --alarm: #c1272d; --band: #cfe3f1; }
}`;

export function plot(of: {
  name: string;
  title: string;
  description: string;
  height: number;
  /** What it needs beyond the usual style; a string of CSS. */
  body: readonly (Html | readonly Html[])[];
}): Plot {
  const { name, title, description, height, body } = of;
  const id = `plot-${name}`;
  const [width, tall] = [String(PLOT_WIDTH), String(Math.ceil(height))];
  const markup = svg`<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 ${width} ${tall}" width="${width}" height="${tall}" role="img" aria-labelledby="${id}-title ${id}-description"><title id="${id}-title">${clean(title)}</title><desc id="${id}-description">${clean(description)}</desc>${body}</svg>`;
  return { name, title, description, markup };
}

/** The plot as a file of its own: with its style, and paper under it. */
export function plotFile({ markup: { markup } }: Plot): string {
  const inside = `<style>${PLOT_STYLE}</style><rect class="paper" width="100%" height="100%"/>`;
  return `<?xml version="1.0" encoding="UTF-8"?>\n${markup.replace('</desc>', `</desc>${inside}`)}\n`;
}

/** A piece of text; `space` is how many letters fit. */
export function label(x: number, y: number, text: string, { as = '', space = 200 } = {}): Html {
  const short = shorten(clean(text), space);
  const whole = short === text ? null : svg`<title>${clean(text)}</title>`;
  return svg`<text x="${at(x)}" y="${at(y)}" class="${as}">${short}${whole}</text>`;
}

export function line(from: readonly [number, number], to: readonly [number, number], as: string): Html {
  return svg`<line x1="${at(from[0])}" y1="${at(from[1])}" x2="${at(to[0])}" y2="${at(to[1])}" class="${as}"/>`;
}

export function box(of: { x: number; y: number; width: number; height: number; as: string; title?: string }): Html {
  const title = of.title === undefined ? null : svg`<title>${clean(of.title)}</title>`;
  return svg`<rect x="${at(of.x)}" y="${at(of.y)}" width="${at(Math.max(1, of.width))}" height="${at(of.height)}" class="${of.as}">${title}</rect>`;
}

/** Challenger: a filled dot; champion: a hollow square. They differ without their colours, too. */
export function marker(side: 'challenger' | 'champion', x: number, y: number, size = 4): Html {
  return side === 'challenger'
    ? svg`<circle cx="${at(x)}" cy="${at(y)}" r="${at(size)}" class="challenger dot"/>`
    : svg`<rect x="${at(x - size)}" y="${at(y - size)}" width="${at(2 * size)}" height="${at(2 * size)}" class="champion dot"/>`;
}

/** `at` of SVG: tenths of a pixel are enough. */
export function at(value: number): string {
  return String(Number(value.toFixed(1)));
}

export function shorten(text: string, space: number): string {
  const letters = Array.from(text);
  return letters.length <= space ? text : `${letters.slice(0, Math.max(1, space - 1)).join('')}…`;
}

/** Control characters, and halves of surrogate pairs, have no place in XML. */
export function clean(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/gu, '\ufffd');
}
