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
    this.paused ??= { ...message, sinceMs: nowMs };
  }

  resume(): void {
    this.paused = null;
  }

  requestStop(request: StopRequest): void {
    if (this.stop?.kind !== 'forceRollback') this.stop = request;
  }

  askForApproval(request: ApprovalRequest): void {
    this.approvalRequest = request;
    this.decision = null;
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
    if (nowMs > request.untilMs) throw new Error('refused: the approval deadline has passed');
    if (message.version !== request.version) {
      throw new Error(`refused: version ${String(request.version)} waits for approval, not ${String(message.version)}`);
    }
    if (message.who.trim() === '') throw new Error('refused: say who decides (--who NAME)');
  }

  decide(kind: 'approved' | 'rejected', message: ApprovalMessage): string {
    this.decision = { kind, ...message };
    return `version ${String(message.version)} ${kind} by ${message.who}`;
  }
}
