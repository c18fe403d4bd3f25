import { expect, it } from 'vitest';
import { discountedZ, NO_DRIFT } from '../../../policy/sequential/backstop.ts';

it.each([
  ['nothing without a drift', 3, { standardError: 0.1, blocks: 1, drift: NO_DRIFT }, 3],
  [
    'by half of the variance',
    3,
    { standardError: 0.1, blocks: 1, drift: { dispersion: 0.1, overdispersion: 1 } },
    3 / Math.SQRT2,
  ],
  [
    'less over more blocks',
    3,
    { standardError: 0.1, blocks: 4, drift: { dispersion: 0.1, overdispersion: 1 } },
    3 / Math.sqrt(1.25),
  ],
  ['by rows that go together', 3, { standardError: 0.1, blocks: 1, drift: { dispersion: 0, overdispersion: 9 } }, 1],
  [
    'nothing where no row varies',
    Infinity,
    { standardError: 0, blocks: 1, drift: { dispersion: 0.1, overdispersion: 1 } },
    Infinity,
  ],
])('a z is discounted: %s', (_, z, given, expected) => {
  expect(discountedZ(z, given)).toBeCloseTo(expected, 9);
});

it('what is not known stays so', () => {
  const drift = { dispersion: 0.1, overdispersion: 1 };
  expect(discountedZ(NaN, { standardError: 0.1, blocks: 1, drift })).toBeNaN();
});
