import { shadowSection } from '../config/rollout-sections.ts';
import { judgeShadow, type ShadowVerdict } from '../policy/shadow.ts';
import { readCycle } from '../store/cycles.ts';
import { databaseNow, renewLease } from '../store/leases.ts';
import { readShadowSums } from '../store/shadow-sums.ts';
import type { RolloutDependencies } from './dependencies.ts';
import { explainRefusal, type Refusal } from './refusal.ts';

export interface ReadShadowInput {
  cycleId: string;
  line: string;
  version: number;
  epoch: number;
  /** The guard is silenced: divergence is recorded, and warns. */
  silenced: boolean;
}

/** A cycle's config may have been frozen by an older build, which did not know all limits. */
const DEFAULTS = shadowSection.parse({});

export interface ReadShadowResult {
  verdict: ShadowVerdict;
  refused: Refusal | null;
}

/** Compares shadow and stable on the same requests, and renews the lease unless they diverge. */
export async function readShadow(deps: RolloutDependencies, input: ReadShadowInput): Promise<ReadShadowResult> {
  const startedAt = await databaseNow(deps.db);
  const { config } = await readCycle(deps.db, input.cycleId);
  const reading = await readShadowSums(deps.db, {
    line: input.line,
    version: input.version,
    sinceEpoch: input.epoch,
  }).catch((error: unknown) => ({ error: (error as Error).message }));
  const verdict = judgeShadow({ reading, config: { ...DEFAULTS, ...config.shadow }, silenced: input.silenced });
  if (verdict.status === 'diverged') return { verdict, refused: null };
  const renewal = await renewLease(deps.db, { cycleId: input.cycleId, startedAt, leaseMs: config.canary.lease });
  return { verdict, refused: renewal.kind === 'renewed' ? null : explainRefusal(renewal) };
}
