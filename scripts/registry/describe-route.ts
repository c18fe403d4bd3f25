import type { Route } from '../../store/types.ts';
import type { RouteSpan } from '../../store/version-history.ts';
import { time } from '../commands/run-command.ts';

/** `version 3; canary 4 at 5 %, holdback 10 % (epoch 17)`, `version 4; holdback 10 % on version 3 (epoch 19)` */
export function describeRoute(route: Route): string {
  const parts = [route.stable === 0 ? 'the input order (version 0)' : `version ${route.stable}`];
  if (route.canary !== null)
    parts.push(`canary ${route.canary} at ${percent(route.canaryShare)}, holdback ${percent(route.holdback)}`);
  if (route.holdbackVersion !== null)
    parts.push(`holdback ${percent(route.holdback)} on version ${route.holdbackVersion}`);
  if (route.shadow !== null) parts.push(`shadow ${route.shadow} on ${percent(route.shadowShare)}`);
  return `${parts.join('; ')} (epoch ${route.epoch})`;
}

/** Rows of what a version was given, oldest first: moves that left its part as it was are put together. */
export function describeSpans(spans: readonly RouteSpan[]): string[][] {
  return together(spans).map(({ first, last, least }) => [
    first.role,
    first.role === 'stable' && least === 1 ? 'all' : `${first.role === 'stable' ? 'at least ' : ''}${percent(least)}`,
    time(first.fromAt),
    last.toAt === null ? 'now' : time(last.toAt),
    first.epoch === last.epoch ? String(first.epoch) : `${first.epoch}-${last.epoch}`,
    first.who,
    first.why,
  ]);
}

export const SPAN_HEAD = ['as', 'share', 'from', 'to', 'epochs', 'by', 'why'];

export function percent(share: number): string {
  return `${Math.round(share * 1_000) / 10} %`;
}

interface Stretch {
  first: RouteSpan;
  last: RouteSpan;
  /** The smallest share in it. */
  least: number;
}

/** A stable's share changes with each step of a canary: that is one stretch. */
function together(spans: readonly RouteSpan[]): Stretch[] {
  const stretches: Stretch[] = [];
  for (const span of spans) {
    const before = stretches.findLast(({ first }) => first.role === span.role);
    const goesOn =
      before !== undefined &&
      before.last.epoch + 1 === span.epoch &&
      (span.role === 'stable' || before.last.share === span.share);
    if (!goesOn) stretches.push({ first: span, last: span, least: span.share });
    else {
      before.last = span;
      before.least = Math.min(before.least, span.share);
    }
  }
  return stretches;
}
