import { expect, test } from 'vitest';
import { CycleJournal } from '../../workflows/cycle-journal.ts';
import { describeGate, summariseGate } from '../../workflows/gate-summary.ts';
import { changed, decide, first, normal, type Change } from '../policy/gate-cases.ts';

const summaryOf = (change: Change, extensions = 0) =>
  summariseGate({ evaluation: changed(change), gate: decide(change), metric: 'auc', extensions });

test('a verdict is one line with its numbers', () => {
  const inconclusive = { gain: normal(-0.001, 0.002) };
  expect(describeGate(summaryOf(inconclusive, 2))).toMatch(
    /^inconclusive on 20,000 rows of 4,000 users, 2 extensions in them; auc gains -0\.001 \(-0\.0043 to 0\.0023\) over version 3; rules: .*1 inconclusive.*; about [\d,]+ rows would decide$/,
  );
  expect(describeGate(summaryOf(first))).toMatch(
    /^pass on 20,000 rows of 4,000 users; rules: \d+ pass, \d+ notApplicable$/,
  );
});

test('a gain that is not known is left out, and the verdict says why', () => {
  const summary = summaryOf({ gain: { auc: normal(NaN, NaN) } });
  expect(summary).toMatchObject({ kind: 'hold', gain: null });
  expect(describeGate(summary)).not.toContain('NaN');
});

test('what operators are shown has the verdict, its reasons, and what is waited for', () => {
  const journal = new CycleJournal({ line: 'feed', cycleId: 'c', trigger: 'test' });
  journal.gate = summaryOf({ gain: normal(-0.001, 0.002) });
  journal.waitingForRows = { attempt: 1, of: 2, until: '2026-01-05T12:00:00.000Z', rows: 20_000, neededRows: 90_000 };

  const shown = journal.markdown(null);

  expect(shown).toContain('**Gate**: inconclusive on 20,000 rows');
  expect(shown).toContain('- `gate.comparison.inconclusive` Inconclusive: in auc');
  expect(shown).toContain(
    '**Waits for rows**: 1 of 2, until 2026-01-05T12:00:00.000Z; 20,000 rows so far, about 90,000',
  );
  journal.end('rejected', journal.gate.reasons);
  expect(journal.markdown(null).match(/gate\.comparison\.inconclusive/g)).toHaveLength(1);
  expect(journal.status(null)).toMatchObject({ waitingForRows: null, gate: { kind: 'inconclusive' } });
});
