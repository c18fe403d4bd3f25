import { describe, expect, it } from 'vitest';
import { DAY_MS, dayRate, eventTimeAt, operatingTimeAt, withRate } from '../../simulator/event-timeline.ts';

describe('the event timeline', () => {
  const timeline = { eventMs: 1_000_000, operatingMs: 500, rate: dayRate(80_000) };

  it('lets a day pass in the given operating time, and maps back', () => {
    expect(eventTimeAt(timeline, 80_500)).toBe(1_000_000 + DAY_MS);
    expect(operatingTimeAt(timeline, 1_000_000 + DAY_MS)).toBe(80_500);
    expect(eventTimeAt(timeline, 0)).toBeLessThan(1_000_000);
  });

  it('keeps what was reached when its rate changes', () => {
    const slower = withRate(timeline, { rate: 1, operatingMs: 80_500 });
    expect(eventTimeAt(slower, 80_500)).toBe(eventTimeAt(timeline, 80_500));
    expect(eventTimeAt(slower, 80_600)).toBe(1_000_000 + DAY_MS + 100);
  });

  it('never reaches a later event time while it is held', () => {
    const held = withRate(timeline, { rate: 0, operatingMs: 500 });
    expect(operatingTimeAt(held, 1_000_001)).toBe(Infinity);
    expect(operatingTimeAt(held, 1_000_000)).toBe(500);
  });

  it.each([0, -1, NaN, Infinity])('refuses a day of %s ms', (dayMs) => {
    expect(() => dayRate(dayMs)).toThrow('a day must last a positive number of milliseconds');
  });
});
