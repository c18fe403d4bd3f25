export type CheckStatus = 'pass' | 'warn' | 'fail';

/** What one check found: what was seen and, unless it passed, what the contract asks for and what to do. */
export interface CheckFinding {
  check: string;
  status: CheckStatus;
  message: string;
}

type Finding = (check: string, message: string) => CheckFinding;

const finding =
  (status: CheckStatus): Finding =>
  (check, message) => ({ check, status, message: message.replaceAll(/\s*\n\s*/g, ' ') });

export const pass = finding('pass');
export const warn = finding('warn');
export const fail = finding('fail');
