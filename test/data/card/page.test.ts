import { describe, expect, test } from 'vitest';
import { draw } from './draw.ts';
import { card, config, SNAPSHOT, spans, TAKEN } from './stage.ts';
import { evaluation, metrics } from './stage-evaluation.ts';

describe('what people wrote', () => {
  const wrote = '<script>alert(1)</script> | `x` **b** [l](javascript:x) ![i](http://evil/p.png) @team\n# head\n- item';
  const everywhere = card({
    config: config({ description: wrote }),
    decisions: [
      {
        id: 1,
        line: 'news-feed',
        version: 12,
        cycleId: null,
        kind: 'approved',
        who: wrote,
        why: wrote,
        details: {},
        at: new Date(TAKEN),
      },
    ],
    routes: spans().map((span) => ({ ...span, who: wrote, why: wrote })),
    aliases: [wrote],
    recorded: {
      evaluation: evaluation({ slices: evaluation().slices.map((part) => ({ ...part, value: wrote })) }),
      gate: {
        kind: 'pass',
        reasons: [],
        rules: [{ rule: '`a|b``', kind: 'pass', reason: { code: 'c', message: wrote } }],
      },
    },
  });

  test('is text in HTML, never markup', () => {
    const { page, body } = draw(everywhere);
    expect(page).not.toMatch(/<script|<img/i);
    expect(body.querySelectorAll('a[href^="javascript"]').length).toBe(0);
    expect(body.textContent).toContain('<script>alert(1)</script>');
  });

  test('is text in Markdown: no markup, link, heading, list or cell of its own', () => {
    const { markdown } = draw(everywhere);
    expect(markdown).not.toContain('<script');
    expect(markdown).not.toMatch(/(?<!\\)\[l\\?\]|(?<!\\)!\\?\[i|^# head|^- item|(?<!\\)\*\*b|https?:\/\//m);
    for (const line of markdown.split('\n').filter((text) => text.startsWith('|') && text.includes('alert'))) {
      // Cells of the table that it stands in, and none of its own.
      expect([2, 3, 4, 6, 7]).toContain(line.replaceAll('\\|', '').split('|').length - 2);
    }
  });
});

describe('the page', () => {
  test('needs nothing from elsewhere, and its tables have captions and headers', () => {
    const { page, body } = draw(card());
    expect(page).not.toMatch(/<script|<link|src=|@import|url\(|https?:\/\/(?!www\.w3\.org)/);
    for (const table of body.querySelectorAll('table')) {
      expect(table.querySelector('caption')?.textContent).toBeTruthy();
      expect(table.querySelectorAll('thead th[scope=col]').length).toBeGreaterThan(1);
      expect(table.querySelectorAll('tbody tr').length).toBe(table.querySelectorAll('tbody th[scope=row]').length);
    }
  });

  test('links where there is something to link to', () => {
    const links = { version: String, snapshot: (id: string) => `../../reports/${id}`, versions: '../news-feed' };
    const hrefs = [...draw(card(), links).body.querySelectorAll('a')].map((link) => link.getAttribute('href'));
    expect(hrefs).toEqual(expect.arrayContaining(['11', `../../reports/${SNAPSHOT}`, '../news-feed']));
    expect([...draw(card()).body.querySelectorAll('section a, header a')].length).toBe(0);
  });

  test('tells of extensions of the holdout, of files that are gone, and of why the parent is not the champion', () => {
    const { text } = draw(
      card({
        recorded: {
          ...metrics(),
          extensions: [
            {
              attempt: 1,
              used: true,
              snapshotId: SNAPSHOT,
              rows: 9_123,
              message: 'more rows matured',
              before: { kind: 'inconclusive', reasons: [] },
            },
          ],
        },
        removed: [{ what: 'checkpoint of version 12', why: 'older than 30 days', removedAt: new Date(TAKEN) }],
        cycle: { parentReason: 'the champion, version 11, was trained on bad data' },
      }),
    );
    expect(text).toContain('9,123');
    expect(text).toContain('checkpoint of version 12 (older than 30 days)');
    expect(text).toContain('Its parent is not the champion: the champion, version 11, was trained on bad data.');
  });
});
