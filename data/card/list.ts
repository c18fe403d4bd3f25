import { EVALUATION_METRICS, type EvaluationMetric } from '../../policy/evaluation.ts';
import type { Route } from '../../store/types.ts';
import type { VersionSummary } from '../../store/version-summaries.ts';
import { paragraph, table, type CardDocument, type Inline } from './document.ts';
import { interval, metricName, statusName, versionName, when } from './wording.ts';

/** The versions of a line, each with a link to its card. */
export function describeVersions(of: {
  line: string;
  route: Route;
  versions: readonly VersionSummary[];
  /** There are more, older ones. */
  cut: boolean;
  href: (version: number) => string;
}): CardDocument {
  const { line, route, versions, cut, href } = of;
  const named = (version: number): Inline => ({ href: href(version), text: versionName(version) });
  const beside: Inline[] = [
    ...(route.canary === null ? [] : [', canary ', named(route.canary)]),
    ...(route.shadow === null ? [] : [', shadow ', named(route.shadow)]),
  ];
  const rows = versions.map(
    ({ version, status, parent, createdAt, strategy, verdict, outcome, metric, gain }): Inline[] => [
      named(version),
      statusName(status),
      verdict ?? '',
      gain === null ? '' : gainText(gain, metric),
      strategy ?? '',
      parent === null ? '' : named(parent),
      when(createdAt),
      outcome === null ? '' : statusName(outcome),
    ],
  );
  return {
    title: `${line}: versions`,
    badge: { text: `serves ${versionName(route.stable)}`, tone: 'good' },
    summary: [
      paragraph([
        'Stable is ',
        named(route.stable),
        ...beside,
        `, since ${when(route.at)} (${route.who}: ${route.why}).`,
      ]),
      ...table(
        'Versions, newest first',
        ['version', 'status', 'gate', '#gain', 'trained', 'parent', 'created', 'cycle'],
        rows,
      ),
      ...(cut ? [paragraph('Older versions are left out here; their cards are at their numbers.', 'quiet')] : []),
    ],
    sections: [],
  };
}

function gainText({ estimate, lower, upper }: NonNullable<VersionSummary['gain']>, metric: string | null): string {
  const known = EVALUATION_METRICS.find((name: EvaluationMetric) => name === metric);
  const text = interval({ estimate: estimate ?? NaN, lower: lower ?? NaN, upper: upper ?? NaN }, { sign: true });
  return known === undefined ? text : `${text} in ${metricName(known, 10).replace('@10', '')}`;
}
