import { describe, expect, test } from 'vitest';
import { plotFile } from '../../../data/card/plots/svg.ts';
import { draw } from './draw.ts';
import { card, HOUR, TAKEN } from './stage.ts';
import { evaluation, figures } from './stage-evaluation.ts';

describe('plots', () => {
  test('each has a title and a description in itself, and its numbers in a table beside it', () => {
    const { plots, body, text } = draw(card());
    expect(plots.map(({ name }) => name)).toEqual([
      'metrics',
      'gain',
      'slices',
      'calibration',
      'data-window',
      'routes',
    ]);
    const drawn = [...body.querySelectorAll('figure svg')];
    expect(drawn.length).toBe(plots.length);
    for (const svg of drawn) {
      expect(svg.getAttribute('role')).toBe('img');
      const named = (svg.getAttribute('aria-labelledby') ?? '').split(' ');
      for (const id of named) expect(svg.querySelector(`#${id}`)?.textContent).not.toBe('');
    }
    for (const caption of [
      'Metrics of this version',
      'Parts of the holdout',
      'Bins of this version',
      'Rows by part',
      'What it was given',
    ])
      expect(text).toContain(caption);
    expect(text).toContain('+0.0053 (+0.0029 to +0.0078)');
  });

  test('in Markdown each is a file of its own, named relatively, with what it shows as its text', () => {
    const { markdown, plots } = draw(card());
    for (const { name, title } of plots) {
      expect(markdown).toContain(`](${name}.svg)`);
      expect(markdown).toContain(`![${title}`);
    }
    expect(markdown).not.toContain('<svg');
  });

  test('as a file each is well-formed XML with its own style, whatever stands in it', () => {
    const nasty = '<b>&"\u0007\ud800 ]]>';
    const slices = evaluation().slices.map((part) => ({ ...part, value: nasty, slice: nasty }));
    for (const plot of draw(card({ recorded: { evaluation: evaluation({ slices }) } })).plots) {
      const file = plotFile(plot);
      expect(file).toMatch(/^<\?xml version="1.0" encoding="UTF-8"\?>\n<svg xmlns=/);
      expect(file).toContain('<style>');
      expect(file).not.toMatch(/NaN|Infinity|undefined|\u0007|<b>/);
      expect(file).not.toMatch(/\p{Surrogate}/u);
      expect(unbalanced(file)).toEqual([]);
    }
  });

  test('draw nothing outside their frame when values are unknown, equal or far apart', () => {
    const unknown = { estimate: NaN, lower: NaN, upper: NaN, standardError: NaN };
    const far = {
      ...figures(),
      challenger: {
        ...figures().challenger,
        auc: { estimate: 0.5, lower: 0.5, upper: 0.5, standardError: 0 },
        logLoss: { estimate: 1e6, lower: -1e6, upper: 1e9, standardError: 1 },
        mrr: unknown,
      },
    };
    const bins = [
      { rows: 10, predicted: 0, observed: 0 },
      { rows: 10, predicted: NaN, observed: 1 },
    ];
    const odd = evaluation({ overall: far, slices: [], calibrationCurve: { challenger: bins, champion: [] } });
    for (const { markup } of draw(card({ recorded: { evaluation: odd } })).plots) {
      expect(markup.markup).not.toMatch(/NaN|Infinity/);
      for (const [, x] of markup.markup.matchAll(/\b(?:x|x1|x2|cx)="([^"]+)"/g)) {
        expect(Number(x)).toBeGreaterThanOrEqual(0);
        expect(Number(x)).toBeLessThanOrEqual(720);
      }
    }
  });

  test('a version that has been stable for days still shows how it got there', () => {
    const { page } = draw(card({ asOf: new Date(TAKEN + 9 * 24 * HOUR) }));
    expect(page).toContain('goes on as stable until now');
    const widths = [...page.matchAll(/width="([\d.]+)" height="[\d.]+" class="pale"><title>canary/g)].map(([, width]) =>
      Number(width),
    );
    expect(widths.length).toBe(5);
    expect(Math.min(...widths)).toBeGreaterThan(20);
  });
});

/** Tags that are not closed in their order; a well-formed file has none. */
function unbalanced(xml: string): string[] {
  const open: string[] = [];
  for (const [, end, name, self] of xml.replace(/<\?.*?\?>/, '').matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/gi)) {
    if (self === '/') continue;
    if (end === '') open.push(name ?? '');
    else if (open.pop() !== name) return [name ?? ''];
  }
  return open;
}
