import { describe, expect, it } from 'vitest';
import type { Silence } from '../../config/schema.ts';
import { activeSilence } from '../../policy/silences.ts';

const silence = (until: string, guard: Silence['guard'] = 'leakage'): Silence => ({
  guard,
  until,
  reason: 'a test of silences',
});
const at = Date.parse('2026-05-01T12:00:00Z');

describe('activeSilence', () => {
  it('covers its guard until its end, and no longer', () => {
    const silences = [silence('2026-05-01T12:00:00Z')];
    expect(activeSilence(silences, 'leakage', at - 1)).toBe(silences[0]);
    expect(activeSilence(silences, 'leakage', at)).toBeNull();
  });

  it('covers no other guard', () => {
    expect(activeSilence([silence('2026-06-01T00:00:00Z', 'volume')], 'leakage', at)).toBeNull();
  });

  it('reads offsets and names the silence that ends last', () => {
    const silences = [
      silence('2026-05-01T14:30:00+02:00'),
      silence('2026-05-01T13:00:00Z'),
      silence('2026-05-01T12:10:00Z'),
    ];
    expect(activeSilence(silences, 'leakage', at)?.until).toBe('2026-05-01T13:00:00Z');
  });
});
