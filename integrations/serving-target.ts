import type { Route } from '../store/types.ts';

/**
 * What serves the routes of model lines. Routes and leases in Postgres are the truth; a target is told of a route and asked
 * whether it is in force. Nothing above it knows what a server is made of.
 */
export interface ServingTarget {
  readonly capabilities: ServingCapabilities;
  /**
   * Tells the target of a route that is in force. It returns when the target knows it, which is before it serves by it. To
   * be called again after an error, and as often as one likes: a target that knows of a newer epoch leaves that.
   *
   * @throws Error when the target can not be told, or can not serve such a route.
   */
  apply(route: Route): Promise<void>;
  /**
   * Whether nothing serves the line by an older route than that of `epoch`. A part of the target that was not heard of for
   * `leaseMs` can not serve a canary or a shadow any more, and is not waited for.
   *
   * @throws Error when the target can not be asked; that is no confirmation.
   */
  confirmation(of: { line: string; epoch: number; leaseMs: number }): Promise<Confirmation>;
}

/** What a route may ask of a target. A cycle leaves out what its target can not do, and says so. */
export interface ServingCapabilities {
  /** Copies of live requests, scored and compared unseen. */
  shadow: boolean;
  /** A share of the users that stays on the old stable, always the same ones. */
  holdback: boolean;
}

export interface Confirmation {
  confirmed: boolean;
  /** For people: who has not got there, and what is known of it. Empty when confirmed. */
  waitingFor: { name: string; note: string }[];
}
