import type { ApprovalMessage, OperatorMessage } from './messages.ts';

export interface StopRequest extends OperatorMessage {
  kind: 'forceRollback' | 'abort';
}

export interface ApprovalRequest {
  version: number;
  untilMs: number;
}

export type Decision = (ApprovalMessage & { kind: 'approved' | 'rejected' }) | null;

/**
 * What operators said to one cycle. State only: the workflow decides what follows from it. A rollback request wins over
 * every other message, also over one that came first.
 */
export class OperatorDesk {
  paused: (OperatorMessage & { sinceMs: number }) | null = null;
  stop: StopRequest | null = null;
  approvalRequest: ApprovalRequest | null = null;
  decision: Decision = null;

  pause(message: OperatorMessage, nowMs: number): void {
    this.paused ??= { ...kept(message), sinceMs: nowMs };
  }

  resume(): void {
    this.paused = null;
  }

  requestStop(kind: StopRequest['kind'], message: OperatorMessage): void {
    if (this.stop?.kind !== 'forceRollback') this.stop = { kind, ...kept(message) };
  }

  askForApproval(request: ApprovalRequest): void {
    this.approvalRequest = request;
    this.decision = null;
  }

  /** From here on nothing waits: whatever ended the wait, no decision is taken any more. */
  closeApproval(): void {
    this.approvalRequest = null;
  }

  /** Refuses a decision that answers nothing. Synchronous: it is the validator of `approve` and `reject`. */
  validateDecision(message: ApprovalMessage, nowMs: number): void {
    const request = this.approvalRequest;
    if (this.stop !== null) throw new Error(`refused: ${this.stop.who} already asked for ${this.stop.kind}`);
    if (request === null) throw new Error('refused: no version waits for approval in this cycle');
    if (this.decision !== null)
      throw new Error(
        `refused: version ${String(request.version)} was already ${this.decision.kind} by ${this.decision.who}`,
      );
    if (nowMs >= request.untilMs) {
      throw new Error(`refused: the approval deadline, ${new Date(request.untilMs).toISOString()}, has passed`);
    }
    if (message.version !== request.version) {
      throw new Error(`refused: version ${String(request.version)} waits for approval, not ${String(message.version)}`);
    }
    // Another client than ours may leave fields out.
    if (storable(message.who) === '') throw new Error('refused: say who decides (--who NAME)');
    if (storable(message.reason) === '')
      throw new Error('refused: say why (--reason TEXT); it is kept with the version');
  }

  decide(kind: 'approved' | 'rejected', message: ApprovalMessage): string {
    const { version } = message;
    const { who, reason } = kept(message);
    this.decision = { kind, version, who, reason };
    return `version ${String(version)} ${kind} by ${who}`;
  }
}

/** Of a message its own fields only; a signal can not be refused, so what it lacks is named. */
function kept(message: Partial<OperatorMessage> | undefined): OperatorMessage {
  return {
    who: storable(message?.who) || 'an operator who gave no name',
    reason: storable(message?.reason) || 'no reason given',
  };
}

/** Without what Postgres refuses in text: a decision that can not be written would be tried for ever. */
function storable(text: unknown): string {
  return typeof text === 'string'
    ? text
        .replaceAll('\0', '')
        .replace(/\p{Surrogate}/gu, '')
        .trim()
    : '';
}
