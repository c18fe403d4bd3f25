import { getPriority, setPriority } from 'node:os';

const LOADING_PRIORITY = 10;

/**
 * Puts the calling thread behind those that answer requests, where cores are scarce, and returns what puts it back. On
 * Linux priority 0 is that of this thread. Only where it may be raised again (CAP_SYS_NICE): scoring must not stay behind.
 */
export function lowerPriority(): () => void {
  if (process.platform !== 'linux') return () => undefined;
  const usual = getPriority();
  try {
    setPriority(usual - 1);
  } catch {
    return () => undefined;
  }
  setPriority(Math.max(usual, LOADING_PRIORITY));
  return () => {
    setPriority(usual);
  };
}
