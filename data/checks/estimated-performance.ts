import { estimatePerformance, fitIsotonic } from '../../policy/performance-estimation.ts';
import { auc, logLoss } from '../../policy/statistics.ts';
import type { CheckContext, Finding } from './check.ts';
import { mainVersion, scoredRows } from './scored-rows.ts';
import { ratio, whole } from './wording.ts';

/**
 * How well the serving version does in the freshest hours, whose labels are not in yet: its scores, calibrated on the
 * labelled rows, tell what AUC and log loss to expect (CBPE). Sees a change of the traffic, not of what labels mean.
 */
export function checkEstimatedPerformance({ config, profile, unlabelledProfile }: CheckContext): Finding {
  const { maxAucDrop, maxLogLossRise, minRows } = config.checks.estimatedPerformance;
  const threshold = { maxAucDrop, maxLogLossRise, minRows };
  const none = (message: string, numbers: Finding['numbers'] = {}): Finding => ({
    status: 'pass',
    numbers,
    threshold,
    message,
  });
  const version = profile === null ? null : mainVersion(profile);
  if (profile === null || version === null) return none('no labelled row has the score of a model');
  if (unlabelledProfile === null) return none('every row has its label: there is nothing to estimate');
  const labelled = scoredRows(profile, version);
  const fresh = scoredRows(unlabelledProfile, version).scores;
  const rows = { labelled: labelled.scores.length, fresh: fresh.length };
  if (Math.min(rows.labelled, rows.fresh) < minRows) {
    const message = `version ${version} scored ${whole(rows.labelled)} labelled and ${whole(rows.fresh)} fresh rows, ${whole(minRows)} each are needed for an estimate`;
    return none(message, rows);
  }
  const calibration = fitIsotonic(labelled.labels, labelled.scores);
  const expected = estimatePerformance(fresh, { calibration });
  const known = estimatePerformance(labelled.scores, { calibration });
  const measured = { auc: auc(labelled.labels, labelled.scores), logLoss: logLoss(labelled.labels, labelled.scores) };
  const numbers = {
    ...rows,
    version,
    expectedAuc: expected.auc.value,
    measuredAuc: measured.auc,
    expectedLogLoss: expected.logLoss.value,
    measuredLogLoss: measured.logLoss,
  };
  const found = `version ${version} is expected to reach AUC ${ratio(expected.auc.value)} (${ratio(expected.auc.low)} to ${ratio(expected.auc.high)}) and log loss ${expected.logLoss.value.toFixed(3)} on the ${whole(rows.fresh)} rows without labels; on the labelled ones ${ratio(measured.auc)} and ${measured.logLoss.toFixed(3)}`;
  if (Number.isNaN(expected.auc.value) || Number.isNaN(measured.auc)) {
    return {
      status: 'warn',
      numbers,
      threshold,
      message: `${found}: one class is missing, so nothing can be estimated`,
    };
  }
  const dropped = known.auc.value - expected.auc.value > maxAucDrop && expected.auc.high < known.auc.low;
  const rose =
    expected.logLoss.value > known.logLoss.value * (1 + maxLogLossRise) && expected.logLoss.low > known.logLoss.high;
  if (!dropped && !rose) return none(found, numbers);
  return {
    status: 'block',
    numbers,
    threshold,
    message: `${found}: the newest traffic is harder for it, look at what changed in the last hours`,
  };
}
