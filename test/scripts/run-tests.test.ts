import { expect, test } from 'vitest';
import { closingLine, pytestCounts, vitestCounts } from '../../scripts/run-tests.ts';

const vitest = { numPassedTests: 5, numFailedTests: 1, numPendingTests: 2, numTodoTests: 0, testResults: [] };

test('the closing line names what was skipped only if something was', () => {
  expect(closingLine({ passed: 3, failed: 0, skipped: 0 })).toBe('3 passed, 0 failed');
  expect(closingLine({ passed: 3, failed: 1, skipped: 2 })).toBe('3 passed, 1 failed, 2 skipped');
});

test('a test file that can not be loaded counts as a failure', () => {
  const broken = { status: 'failed', assertionResults: [] };
  expect(vitestCounts({ ...vitest, testResults: [broken] })).toEqual({ passed: 5, failed: 2, skipped: 2 });
});

test('pytest errors are failures, and skipped tests are not passed', () => {
  const xml =
    '<testsuites name="x"><testsuite name="pytest" errors="1" failures="2" skipped="3" tests="10" time="1.0"/></testsuites>';
  expect(pytestCounts(xml)).toEqual({ passed: 4, failed: 3, skipped: 3 });
});
