import { percent } from '../../policy/figures.ts';
import type { RouteSpan } from '../../store/version-history.ts';
import type { VersionCard } from './card.ts';
import { paragraph, table, type Block, type Inline, type Section } from './document.ts';
import { routeTimeline } from './plots/timelines.ts';
import { statusName, versionName, when } from './wording.ts';

/** After the rollout the picture goes on for this much of its length: days as stable say nothing more. */
const TAIL = 0.5;

/** Which traffic it got, which statuses it had, and what people decided. */
export function lifeSection(card: VersionCard): Section[] {
  const blocks = [...routes(card), ...statuses(card), ...decisions(card)];
  return [
    {
      title: 'Life',
      blocks: blocks.length === 0 ? [paragraph('It was registered, and nothing happened to it since.')] : blocks,
    },
  ];
}

function routes({ routes: spans, version, asOf }: VersionCard): Block[] {
  if (spans.length === 0) return [paragraph('No traffic was ever routed to it.')];
  return [
    routeFigure(spans, { version: version.version, asOf }),
    ...table(
      'What it was given, move by move',
      ['#epoch', 'role', '#share', 'from', 'until', 'moved by', 'why'],
      spans.map(({ epoch, role, share, fromAt, toAt, who, why }): Inline[] => [
        ...[String(epoch), role, percent(share), when(fromAt), toAt === null ? 'now' : when(toAt), who, why],
      ]),
    ),
  ];
}

function routeFigure(spans: readonly RouteSpan[], { version, asOf }: { version: number; asOf: Date }): Block {
  const ends = spans.map(({ fromAt, toAt }) => ({ from: fromAt.getTime(), to: (toAt ?? asOf).getTime() }));
  const first = Math.min(...ends.map(({ from }) => from));
  const last = Math.max(...ends.map(({ to }) => to), first + 1);
  const until = pictureEnd(spans, { first, last });
  const drawn = spans.flatMap(({ role, share, epoch }, index) => {
    const { from = 0, to = 0 } = ends[index] ?? {};
    if (from >= until) return [];
    return [
      {
        role,
        share,
        fromMs: from,
        toMs: Math.min(to, until),
        text: `${role}, ${percent(share)}, epoch ${String(epoch)}`,
      },
    ];
  });
  const newest = spans.at(-1);
  const until_ = newest?.toAt == null ? 'now' : when(newest.toAt);
  const steps = spans
    .map(({ role, share, fromAt }) => `${role} ${percent(share)} from ${when(fromAt)}`)
    .slice(0, 12)
    .join('; ');
  return {
    kind: 'figure',
    plot: routeTimeline({
      name: 'routes',
      title: `Share of the traffic of ${versionName(version)}`,
      description: `Operating time in UTC: ${steps}${spans.length > 12 ? '; and so on' : ''}. The table below has every move.`,
      stretches: drawn,
      goesOn: until < last ? `goes on as ${newest?.role ?? 'stable'} until ${until_}` : null,
    }),
  };
}

/** All of it, unless its time as stable would leave no room for how it got there. */
function pictureEnd(spans: readonly RouteSpan[], { first, last }: { first: number; last: number }): number {
  const stable = spans.find(({ role }) => role === 'stable')?.fromAt.getTime();
  if (stable === undefined || stable === first) return last;
  return Math.min(last, stable + TAIL * (stable - first));
}

function statuses({ statuses: changes }: VersionCard): Block[] {
  return table(
    'Statuses',
    ['status', 'before', 'since'],
    changes.map(({ from, to, at }) => [statusName(to), from === null ? '' : statusName(from), when(at)]),
  );
}

const DECISIONS: Record<VersionCard['decisions'][number]['kind'], string> = {
  approved: 'approved',
  rejected: 'rejected',
  expired: 'nobody decided in time',
  aliasSet: 'alias set',
  aliasRemoved: 'alias removed',
  pinned: 'pinned',
  unpinned: 'unpinned',
};

function decisions({ decisions: taken }: VersionCard): Block[] {
  return table(
    'Decisions, and who took them',
    ['decision', 'who', 'when', 'why'],
    taken.map(({ kind, who, at, why, details }): Inline[] => {
      const { alias } = details;
      return [`${DECISIONS[kind]}${typeof alias === 'string' ? `: ${alias}` : ''}`, who, when(at), why];
    }),
  );
}
