import { describeContamination } from '../../policy/contamination.ts';
import { percent } from '../../policy/figures.ts';
import { moment } from '../checks/wording.ts';
import type { RouteSpan } from '../../store/version-history.ts';
import type { CardLinks, VersionCard } from './card.ts';
import { paragraph, type Block, type CardDocument, type Inline, type Tone } from './document.ts';
import { gainMetric } from './figures-section.ts';
import { interval, metricName, sentence, statusName, versionName, when } from './wording.ts';

/** What a reader needs first: what it is, whether it serves, why it was let through or not, and by whom. */
export function summary(card: VersionCard, links: CardLinks): Block[] {
  const { config, version } = card;
  return [
    ...(config === null || config.description === '' ? [] : [paragraph(config.description)]),
    ...(version.version === 0
      ? [paragraph('Keeps the order of the input: there is no model, and so nothing was trained or measured.')]
      : []),
    serving(card),
    ...(version.version === 0 ? [] : [...verdict(card), ...people(card), ...ending(card)]),
    ...contamination(card),
    { kind: 'facts', facts: facts(card, links) },
  ];
}

const BADGES: Record<VersionCard['version']['status'], Tone> = {
  candidate: 'quiet',
  shadow: 'warn',
  canary: 'warn',
  stable: 'good',
  archived: 'quiet',
  rejected: 'bad',
  rolledBack: 'bad',
};

export function badge({ version: { status } }: VersionCard): CardDocument['badge'] {
  return { text: statusName(status), tone: BADGES[status] };
}

function serving(card: VersionCard): Block {
  const { route, routes, takenOff } = card;
  const { version } = card.version;
  const movedBy = ({ who, why }: RouteSpan): string => sentence(`Put there by ${who}: ${beyondTheGate(why, card)}`);
  const now = routes.findLast(({ toAt }) => toAt === null);
  if (route.stable === version) {
    const beside =
      route.canary !== null
        ? ` but the ${percent(route.canaryShare)} of its canary, ${versionName(route.canary)}`
        : route.holdbackVersion !== null
          ? ` but the ${percent(route.holdback)} that ${versionName(route.holdbackVersion)} keeps while it is watched`
          : '';
    const since = routes.findLast(
      ({ role, epoch }, index) => role === 'stable' && !isStableAt(routes[index - 1], epoch - 1),
    );
    return paragraph(
      [
        { strong: 'Serves.' },
        ` Stable${since === undefined ? '' : ` since ${when(since.fromAt)}`}: all traffic${beside}${since === undefined ? '' : `. ${movedBy(since)}`}`,
      ],
      'good',
    );
  }
  if (now?.role === 'canary') {
    return paragraph(
      [
        { strong: 'Serves as a canary' },
        `: ${percent(now.share)} of the traffic since ${when(now.fromAt)}. ${movedBy(now)}`,
      ],
      'warn',
    );
  }
  if (now?.role === 'holdback') {
    return paragraph(
      [
        { strong: 'Serves the holdback' },
        `: ${percent(now.share)} of the traffic since ${when(now.fromAt)}, while ${versionName(route.stable)} is watched.`,
      ],
      'warn',
    );
  }
  if (now?.role === 'shadow') {
    return paragraph(
      [
        { strong: 'Does not serve yet' },
        `: as a shadow it scores copies of ${percent(now.share)} of the requests, unseen, since ${when(now.fromAt)}. ${movedBy(now)}`,
      ],
      'warn',
    );
  }
  const last = routes.at(-1);
  if (last === undefined) return paragraph([{ strong: 'Never served' }, ': no request was routed to it.'], 'quiet');
  const until = last.toAt === null ? '' : ` until ${when(last.toAt)}`;
  const ended = takenOff === null ? '' : ` ${sentence(`Taken off by ${takenOff.who}: ${takenOff.why}`)}`;
  return paragraph([{ strong: 'Does not serve' }, `; it was ${WAS[last.role]}${until}.${ended}`], 'quiet');
}

const WAS: Record<RouteSpan['role'], string> = {
  stable: 'the stable version',
  holdback: 'the stable version, in the end of the holdback alone,',
  canary: 'a canary',
  shadow: 'a shadow',
};

function isStableAt(span: RouteSpan | undefined, epoch: number): boolean {
  return span?.role === 'stable' && span.epoch === epoch;
}

/** Who promotes repeats what the gate said, which stands below. */
function beyondTheGate(why: string, { metrics: { gate } }: VersionCard): string {
  const rest = (gate?.reasons ?? []).reduce((text, { message }) => text.replace(message, ''), why);
  const parts = rest.split(';').map((part) => part.trim());
  return parts.filter((part) => part !== '').join('; ') || why;
}

const VERDICTS: Record<string, { words: string; tone: Tone }> = {
  pass: { words: 'The gate let it through.', tone: 'good' },
  reject: { words: 'The gate rejected it.', tone: 'bad' },
  inconclusive: { words: 'The gate could not decide.', tone: 'warn' },
  hold: { words: 'The gate had nothing to decide from, and so did not let it through.', tone: 'bad' },
};

function verdict({ metrics: { gate } }: VersionCard): Block[] {
  if (gate === null) return [paragraph([{ strong: 'No verdict of a gate is on record.' }], 'warn')];
  const { words, tone } = VERDICTS[gate.kind] ?? { words: `The gate said ${gate.kind}.`, tone: 'warn' };
  const needed =
    gate.neededRows === undefined ? '' : ` About ${gate.neededRows.toLocaleString('en-US')} rows would decide.`;
  const reasons = gate.reasons.map(({ message }) => sentence(message));
  // A sentence of the gate itself may name the size already.
  const size = reasons.some((reason) => reason.includes('would decide')) ? '' : needed;
  if (reasons.length < 2) return [paragraph([{ strong: words }, ` ${reasons.join('')}${size}`], tone)];
  return [paragraph([{ strong: words }, size], tone), { kind: 'list', items: reasons }];
}

const DECIDED: Partial<Record<VersionCard['decisions'][number]['kind'], { words: string; tone: Tone }>> = {
  approved: { words: 'Approved', tone: 'good' },
  rejected: { words: 'Rejected by hand', tone: 'bad' },
  expired: { words: 'Nobody decided in time', tone: 'bad' },
};

/** Who let it through: a person, or the gate alone. */
function people({ decisions, config, metrics: { gate } }: VersionCard): Block[] {
  const taken = decisions.flatMap((decision) => {
    const decided = DECIDED[decision.kind];
    if (decided === undefined) return [];
    const by = decision.kind === 'expired' ? '' : ` by ${decision.who}`;
    return [
      paragraph(
        [{ strong: `${decided.words}${by}` }, `, ${when(decision.at)}: ${sentence(decision.why)}`],
        decided.tone,
      ),
    ];
  });
  if (taken.length > 0 || gate === null || config === null) return taken;
  if (config.gate.approval === 'always')
    return [paragraph('The config asks a person for every version; no decision is on record.', 'warn')];
  return [
    paragraph(
      gate.kind === 'pass'
        ? 'No person was asked: the config lets the gate decide.'
        : 'No decision of a person is on record.',
      'quiet',
    ),
  ];
}

const OUTCOMES: Record<string, { words: string; tone: Tone }> = {
  promoted: { words: 'Its cycle promoted it.', tone: 'good' },
  rejected: { words: 'Its cycle rejected it.', tone: 'bad' },
  skipped: { words: 'Its cycle was skipped.', tone: 'bad' },
  rolledBack: { words: 'Its cycle rolled it back.', tone: 'bad' },
  aborted: { words: 'Its cycle was aborted.', tone: 'bad' },
  failed: { words: 'Its cycle failed.', tone: 'bad' },
};

function ending({ cycle, metrics: { gate } }: VersionCard): Block[] {
  if (cycle === null) return [];
  if (cycle.outcome === null) {
    const phase = cycle.phases.at(-1)?.phase;
    return [paragraph([{ strong: 'Its cycle is still running' }, phase === undefined ? '.' : `: ${phase}.`], 'warn')];
  }
  const { words, tone } = OUTCOMES[cycle.outcome] ?? { words: `Its cycle ended: ${cycle.outcome}.`, tone: 'quiet' };
  const said = new Set(gate?.reasons.map(({ message }) => message));
  const why = cycle.reasons.filter(({ message }) => !said.has(message)).map(({ message }) => sentence(message));
  return [paragraph([{ strong: words }, ` ${why.join(' ')}`], tone)];
}

function contamination({ contamination: found, version: { version } }: VersionCard): Block[] {
  if (found === null) return [];
  const text = ` It ${describeContamination(found)}. Nothing trains on from ${versionName(version)} any more.`;
  return [paragraph([{ strong: 'Tainted.' }, text], 'bad')];
}

function facts(card: VersionCard, links: CardLinks): [string, Inline][] {
  const { version, metrics, aliases, pin, data, cycle } = card;
  const { evaluation } = metrics.evaluation.kind === 'measured' ? metrics.evaluation : { evaluation: null };
  const metric = gainMetric(card);
  const parent: Inline = version.parent === null ? 'none: trained from scratch' : versionLink(version.parent, links);
  const figures: [string, Inline][] =
    evaluation === null
      ? []
      : [
          [metricName(metric, evaluation.k), interval(evaluation.overall.challenger[metric])],
          [
            'gain',
            evaluation.overall.gain === null || evaluation.champion === null
              ? 'there was no champion to compare with'
              : [
                  `${interval(evaluation.overall.gain[metric], { sign: true })} over `,
                  versionLink(evaluation.champion, links),
                ],
          ],
        ];
  return [
    ...figures,
    ['created', when(version.createdAt)],
    ...(version.version === 0 ? [] : ([['parent', parent]] as [string, Inline][])),
    ...(data.kind === 'known'
      ? ([['data up to', `${moment(data.manifest.cutoffMs)} (event time)`]] as [string, Inline][])
      : []),
    ...(cycle === null ? [] : ([['cycle', { code: cycle.cycleId }]] as [string, Inline][])),
    ...(aliases.length === 0 ? [] : ([['aliases', aliases.join(', ')]] as [string, Inline][])),
    ...(pin === null ? [] : ([['pinned', `by ${pin.who}: ${pin.why}`]] as [string, Inline][])),
    ['as of', when(card.asOf)],
    ...(links.versions === undefined
      ? []
      : ([['versions', { href: links.versions, text: 'all of this line' }]] as [string, Inline][])),
  ];
}

export function versionLink(version: number, { version: href }: CardLinks): Inline {
  return href === undefined ? versionName(version) : { href: href(version), text: versionName(version) };
}
