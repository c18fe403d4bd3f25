import { pino } from 'pino';
import { expect, test } from 'vitest';
import { logEvents, LogWatch, noDrops, type LogEvent } from '../../serving/log-events.ts';

function watch(): { told: LogEvent[]; watch: LogWatch } {
  const told: LogEvent[] = [];
  return { told, watch: new LogWatch((event) => told.push(event)) };
}

test('dropping is told when it begins and when it has ended, with what was lost in between', () => {
  const { told, watch: look } = watch();
  const at = (seconds: number, threadBehind: number, torn = 0): void => {
    look.look({ ...noDrops(), threadBehind, torn }, seconds * 1_000);
  };
  at(0, 0);
  at(1, 5);
  at(2, 7, 1);
  at(11, 7, 1);
  expect(told).toEqual([{ kind: 'dropping', droppedBy: { threadBehind: 5 } }]);
  at(11.5, 8, 1);
  at(21, 8, 1);
  expect(told).toHaveLength(1);
  at(22, 8, 1);
  at(40, 8, 1);
  expect(told.slice(1)).toEqual([{ kind: 'droppingEnded', records: 9, seconds: 10.5 }]);
  at(50, 9, 1);
  expect(told[2]).toEqual({ kind: 'dropping', droppedBy: { threadBehind: 1 } });
});

test('a log that can not be written is told once, and when it can again', () => {
  const { told, watch: look } = watch();
  const sealed = (failedSeals: number, publishedSegments: number): void => {
    look.sealed({ failedSeals, publishedSegments, lastError: failedSeals === 0 ? null : 'ENOSPC' });
  };
  sealed(0, 3);
  sealed(1, 3);
  sealed(2, 3);
  // A new thread counts from zero.
  look.sealed(null);
  sealed(0, 0);
  sealed(1, 0);
  sealed(1, 1);
  sealed(1, 2);
  expect(told).toEqual([{ kind: 'sealsFail', error: 'ENOSPC' }, { kind: 'sealsWork' }]);
});

test('each event is a line in the log of the process', () => {
  const lines: { level: number; msg: string }[] = [];
  const tell = logEvents(pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line) as never) }));
  tell({ kind: 'dropping', droppedBy: { bufferFull: 3 } });
  tell({ kind: 'threadEnded', problem: 'the thread of the event log has ended', lost: 7, restartInMs: 100 });
  expect(lines).toEqual([
    expect.objectContaining({ level: 40, droppedBy: { bufferFull: 3 } }),
    expect.objectContaining({ level: 50, lost: 7, restartInMs: 100 }),
  ]);
});
