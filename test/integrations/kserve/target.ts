import type { Confirmation, ServingTarget } from '../../../integrations/serving-target.ts';
import type { Route } from '../../../store/types.ts';
import { inferenceServiceSchema, servicePath, type InferenceService, type Predictor } from './inference-service.ts';

/** What was asked for last stands in annotations: KServe knows revisions, not versions. */
const EPOCH = 'freshet/epoch';
const LATEST = 'freshet/latest-version';
const ROLLED_OUT = 'freshet/rolled-out-version';
/** The newest revision before the model was changed: until another is created, the status is of before. */
const REVISION_BEFORE = 'freshet/revision-before';

/** At 100 % KServe calls a canary rolled out and forgets what to return to. */
const MOST_OF_A_CANARY = 99;

interface KServeTargetOptions {
  /** Of the Kubernetes API. */
  url: string;
  namespace: string;
  storageUri: (version: number) => string;
}

/** Serves lines by KServe: an InferenceService a line, its canary by `canaryTrafficPercent`. */
export class KServeTarget implements ServingTarget {
  readonly capabilities = { shadow: false, holdback: false };
  readonly #options: KServeTargetOptions;

  constructor(options: KServeTargetOptions) {
    this.#options = options;
  }

  async apply(route: Route): Promise<void> {
    for (;;) {
      const service = await this.#read(route.line);
      // Routes come again and out of order; the newest one stays.
      if (epochOf(service) > route.epoch) return;
      if (await this.#patch(service, this.#change(service, route))) return;
    }
  }

  async confirmation({ line, epoch }: { line: string; epoch: number }): Promise<Confirmation> {
    const service = await this.#read(line);
    const note = whatIsMissing(service, epoch);
    return { confirmed: note === null, waitingFor: note === null ? [] : [{ name: `inferenceservice/${line}`, note }] };
  }

  #change(service: InferenceService, route: Route): object {
    const { storageUri } = this.#options;
    const { latest, percent, rolledOut } = wanted(service, route);
    const { annotations } = service.metadata;
    const { latestCreatedRevision = '' } = service.status.components.predictor;
    const isNew = String(latest) !== annotations[LATEST];
    return {
      metadata: {
        resourceVersion: service.metadata.resourceVersion,
        annotations: {
          [EPOCH]: String(route.epoch),
          [LATEST]: String(latest),
          [ROLLED_OUT]: String(rolledOut),
          ...(isNew && { [REVISION_BEFORE]: latestCreatedRevision }),
        },
      },
      spec: { predictor: { canaryTrafficPercent: percent, model: { storageUri: storageUri(latest) } } },
    };
  }

  async #read(line: string): Promise<InferenceService> {
    const response = await this.#request(line, { method: 'GET' });
    if (!response.ok) throw new Error(`GET inferenceservice/${line}: HTTP ${String(response.status)}`);
    return inferenceServiceSchema.parse(await response.json());
  }

  /** False when somebody else was faster. */
  async #patch(service: InferenceService, change: object): Promise<boolean> {
    const { name } = service.metadata;
    const headers = { 'content-type': 'application/merge-patch+json' };
    const response = await this.#request(name, { method: 'PATCH', headers, body: JSON.stringify(change) });
    if (response.status === 409) return false;
    if (!response.ok) throw new Error(`PATCH inferenceservice/${name}: HTTP ${String(response.status)}`);
    return true;
  }

  #request(line: string, init: RequestInit): Promise<Response> {
    const { url, namespace } = this.#options;
    return fetch(`${url}${servicePath(namespace, line)}`, { ...init, signal: AbortSignal.timeout(5_000) });
  }
}

interface Wanted {
  /** In the spec: the newest revision. */
  latest: number;
  /** Of the newest revision; null: all, and it is rolled out. */
  percent: number | null;
  rolledOut: number;
}

function wanted({ metadata: { annotations } }: InferenceService, route: Route): Wanted {
  const { stable, canary, canaryShare, holdback, shadow, line } = route;
  const latest = Number(annotations[LATEST]);
  const rolledOut = Number(annotations[ROLLED_OUT]);
  if (shadow !== null) throw new Error(`${line}: KServe has no shadow`);
  if (holdback > 0) throw new Error(`${line}: KServe has no holdback`);
  if (canary !== null) {
    const percent = Math.min(MOST_OF_A_CANARY, canaryShare * 100);
    if (!Number.isInteger(percent)) throw new Error(`${line}: KServe takes whole percents, not ${String(percent)}`);
    if (rolledOut !== stable)
      throw new Error(`${line}: version ${String(stable)} has to be rolled out before a canary`);
    return { latest: canary, percent, rolledOut };
  }
  // Back to what is rolled out: at once, without a new revision. The canary's stays, without traffic.
  if (stable === rolledOut && latest !== rolledOut) return { latest, percent: 0, rolledOut };
  return { latest: stable, percent: null, rolledOut: stable };
}

const epochOf = ({ metadata: { annotations } }: InferenceService): number => Number(annotations[EPOCH] ?? 0);

/** Null when the status shows that traffic goes as the newest route says. */
function whatIsMissing(service: InferenceService, epoch: number): string | null {
  const known = epochOf(service);
  if (known < epoch) return `was told of epoch ${String(known)}`;
  const { predictor } = service.status.components;
  const percent = service.spec.predictor.canaryTrafficPercent ?? 100;
  const served = percentOfLatest(predictor);
  // A canary that is broken must not keep its own rollback from being confirmed: of that only the traffic counts.
  if (percent > 0) {
    const { latestCreatedRevision: created = '', latestReadyRevision: ready } = predictor;
    if (created === service.metadata.annotations[REVISION_BEFORE]) return 'has not made the new revision yet';
    if (created !== ready) return `revision ${created} is not ready`;
    const condition = service.status.conditions.find(({ type }) => type === 'Ready');
    if (condition?.status !== 'True') return `Ready is ${condition?.status ?? 'unknown'}: ${condition?.reason ?? ''}`;
  }
  return served === percent
    ? null
    : `the newest revision has ${String(served)} % of the traffic, not ${String(percent)} %`;
}

function percentOfLatest({ traffic }: Predictor): number {
  return traffic.filter(({ latestRevision }) => latestRevision).reduce((sum, { percent }) => sum + percent, 0);
}
