import type { Queryable } from '../store/database.ts';
import { confirmation } from '../store/processes.ts';
import type { ServingTarget } from './serving-target.ts';

/**
 * Freshet's own gateways. They follow the routes in Postgres by themselves and report there which epoch they serve by, so
 * there is nothing to tell them.
 */
export function createGatewayTarget(db: Queryable): ServingTarget {
  return {
    capabilities: { shadow: true, holdback: true },
    apply: () => Promise.resolve(),
    async confirmation(of) {
      const { confirmed, waitingFor } = await confirmation(db, of);
      return {
        confirmed,
        waitingFor: waitingFor.map(({ processId, reportedEpoch, seenSecondsAgo }) => ({
          name: processId,
          note: `reported epoch ${String(reportedEpoch)}, seen ${seenSecondsAgo.toFixed(1)} s ago`,
        })),
      };
    },
  };
}
