import { expect, test } from 'vitest';
import { cardUrl } from '../../activities/page-urls.ts';

test.each([
  ['http://127.0.0.1:8090/reports', 'http://127.0.0.1:8090/cards/news-feed/12'],
  ['https://ml.example/freshet/reports/', 'https://ml.example/freshet/cards/news-feed/12'],
  [null, null],
])('of reports at %s the card is at %s', (reportsUrl, card) => {
  expect(cardUrl(reportsUrl, { line: 'news-feed', version: 12 })).toBe(card);
});
