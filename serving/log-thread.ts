import { parentPort, workerData } from 'node:worker_threads';
import { openEventLogWriter, type EventLogWriter } from '../data/event-log/writer.ts';
import { featureText, impressionHeads, type FeatureText } from './impression-json.ts';
import type { LogBatch, LogThreadAnswer, LogThreadInput, LogThreadRequest } from './slate-protocol.ts';

/** Entry of the thread that encodes and writes the event log, so that neither costs a request any time. */

const STATS_EVERY_MS = 500;

function answer(message: LogThreadAnswer): void {
  parentPort?.postMessage(message);
}

const columns = new Map<number, FeatureText>();
const asked = new Map<number, (eventMs: number) => void>();
let lastId = 0;

/** The event clocks are the main thread's. */
function eventNow(line: string): Promise<number> {
  const id = ++lastId;
  return new Promise((resolve) => {
    asked.set(id, resolve);
    answer({ kind: 'askEventNow', id, line });
  });
}

function take(writer: EventLogWriter, { slates, ids, dense, feedback }: LogBatch): void {
  let [idsAt, denseAt] = [0, 0];
  let records = feedback.length;
  for (const slate of slates) {
    const features = columns.get(slate.columns);
    const heads = impressionHeads(slate, (pieces) => {
      if (features === undefined) throw new Error('a slate came before the names of its features');
      features.add(pieces, { ids, dense, idsAt, denseAt });
      idsAt += features.categorical;
      denseAt += features.numeric;
    });
    const { line, eventTimeMs, arrivedAtMs } = slate.head;
    writer.appendEncoded('impressions', { line, eventTimeMs, arrivedAtMs, heads });
    records += heads.length;
  }
  if (feedback.length > 0) writer.appendFeedback(feedback);
  answer({ kind: 'taken', records, stats: writer.stats() });
}

async function obey(writer: EventLogWriter, request: LogThreadRequest): Promise<void> {
  switch (request.kind) {
    case 'batch':
      take(writer, request);
      return;
    case 'columns':
      columns.set(request.index, featureText(request.names));
      return;
    case 'eventNow':
      asked.get(request.id)?.(request.eventMs);
      asked.delete(request.id);
      return;
    case 'close':
      await writer.close();
      answer({ kind: 'closed', stats: writer.stats() });
      parentPort?.close();
  }
}

try {
  const input = workerData as LogThreadInput;
  const writer = await openEventLogWriter({ ...input, eventNow });
  setInterval(() => {
    answer({ kind: 'stats', stats: writer.stats() });
  }, STATS_EVERY_MS).unref();
  parentPort?.on('message', (request: LogThreadRequest) => void obey(writer, request));
  answer({ kind: 'ready' });
} catch (error) {
  answer({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
}
