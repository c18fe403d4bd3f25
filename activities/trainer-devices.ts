import { CancelledFailure } from '@temporalio/activity';

/** Devices of one training, until they are given back. */
export interface DeviceLease {
  /** As in CUDA_VISIBLE_DEVICES; empty on the CPU. */
  gpus: readonly string[];
  /** For people. */
  name: string;
  /** May be called again. */
  release(): void;
}

interface Waiting {
  wanted: number;
  grant: (ids: string[]) => void;
}

/**
 * The devices of this machine. Each is one training's at a time; who wants several waits until they are free, first come
 * first served, so that a large training is not overtaken for ever. On the CPU a device is a place for one training.
 */
export class DevicePool {
  readonly kind: 'gpu' | 'cpu';
  readonly size: number;
  readonly #free: string[];
  readonly #waiting: Waiting[] = [];

  constructor(of: { gpus: readonly string[] } | { cpuTrainings: number }) {
    this.kind = 'gpus' in of ? 'gpu' : 'cpu';
    this.#free = 'gpus' in of ? [...of.gpus] : Array.from({ length: of.cpuTrainings }, (_, place) => String(place));
    this.size = this.#free.length;
    if (this.size === 0 || new Set(this.#free).size < this.size) {
      throw new Error(`a pool needs devices, each once, and got: ${this.#free.join(', ') || 'none'}`);
    }
  }

  /** How many of the wanted devices a training gets here: several only where they are GPUs. */
  available(wanted: number): number {
    return this.kind === 'cpu' ? 1 : Math.max(1, Math.min(wanted, this.size));
  }

  /**
   * Waits for its turn. `onWait` is told once, if there is a wait.
   *
   * @throws CancelledFailure when the signal is aborted before.
   */
  async acquire({
    wanted,
    signal,
    onWait,
  }: {
    wanted: number;
    signal: AbortSignal;
    onWait: () => void;
  }): Promise<DeviceLease> {
    const count = this.available(wanted);
    const ids = await new Promise<string[]>((resolve, reject) => {
      const cancelled = (): void => {
        const place = this.#waiting.indexOf(waiting);
        if (place >= 0) this.#waiting.splice(place, 1);
        this.#serve();
        reject(new CancelledFailure('training was cancelled while it waited for a device'));
      };
      const waiting: Waiting = {
        wanted: count,
        grant: (granted) => {
          signal.removeEventListener('abort', cancelled);
          resolve(granted);
        },
      };
      if (signal.aborted) {
        cancelled();
        return;
      }
      signal.addEventListener('abort', cancelled, { once: true });
      this.#waiting.push(waiting);
      this.#serve();
      if (this.#waiting.includes(waiting)) onWait();
    });
    return this.#lease(ids);
  }

  #lease(ids: string[]): DeviceLease {
    let held = true;
    return {
      gpus: this.kind === 'gpu' ? ids : [],
      name: this.kind === 'gpu' ? `GPU ${ids.join(', ')}` : 'CPU',
      release: () => {
        if (!held) return;
        held = false;
        this.#free.push(...ids);
        this.#serve();
      },
    };
  }

  #serve(): void {
    for (let next = this.#waiting[0]; next !== undefined && next.wanted <= this.#free.length; next = this.#waiting[0]) {
      this.#waiting.shift();
      next.grant(this.#free.splice(0, next.wanted));
    }
  }
}
