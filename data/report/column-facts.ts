import { distinctOf, missingShare, quantile, type ColumnProfile, type Profile } from '../profile/index.ts';
import { html, type Html } from './html.ts';

/** A small table of a column's figures, before and now. */
export function columnFacts(name: string, profile: Profile, reference: Profile | null): Html {
  const now = factsOf(name, profile);
  const was = reference === null ? new Map<string, string>() : factsOf(name, reference);
  return html`<table class="numbers">
    <tr>
      <td></td>
      <td class="n dim">before</td>
      <td class="n">now</td>
    </tr>
    ${[...now].map(
      ([fact, value]) =>
        html`<tr>
          <td>${fact}</td>
          <td class="n dim">${was.get(fact) ?? ''}</td>
          <td class="n">${value}</td>
        </tr>`,
    )}
  </table>`;
}

function factsOf(name: string, profile: Profile): Map<string, string> {
  const column = profile.columns[name];
  if (column === undefined) return new Map();
  const facts = new Map<string, string>([
    ['missing', percent(missingShare(column))],
    ['distinct', distinctText(column)],
  ]);
  if (column.kind === 'categorical') {
    facts.set('most frequent', percent(column.count === 0 ? null : (column.heavy[0]?.[1] ?? 0) / column.count));
    return facts;
  }
  facts.set('mean', number(column.mean));
  facts.set('least', number(column.min));
  for (const [rank, fact] of [
    [0.01, '1 %'],
    [0.5, 'median'],
    [0.99, '99 %'],
  ] as const) {
    facts.set(fact, number(quantile(profile, name, rank)));
  }
  facts.set('greatest', number(column.max));
  return facts;
}

function distinctText(column: ColumnProfile): string {
  const distinct = distinctOf(column);
  return Number.isNaN(distinct) ? 'not known' : Math.round(distinct).toLocaleString('en-US');
}

function percent(share: number | null): string {
  return share === null ? 'none' : `${(share * 100).toFixed(1)} %`;
}

function number(value: number | null): string {
  if (value === null) return 'none';
  if (Number.isInteger(value)) return value.toLocaleString('en-US');
  return Math.abs(value) >= 1_000 ? value.toLocaleString('en-US', { maximumFractionDigits: 1 }) : value.toPrecision(4);
}
