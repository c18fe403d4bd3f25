/** What a user is answered by. Shadow and exploration are decided apart: they change no assignment. */
export type AssignedArm = 'stable' | 'canary' | 'holdback';

/**
 * The fixed point of a user in [0, 1) under a salt: the same on every gateway, in every process, for ever. Routes carry
 * the salt, and each cycle has its own, so that it is not always the same users who meet a new version first.
 *
 * 32-bit FNV-1a over the UTF-16 code units (low byte first), then the finaliser of MurmurHash3 (`fmix32`): FNV alone
 * leaves the high bits of keys that differ in their last character close together. Not a cryptographic hash.
 */
export function userPoint(userId: string, salt: string): number {
  const key = `${salt}:${userId}`;
  let hash = 0x811c9dc5;
  for (let index = 0; index < key.length; index++) {
    const unit = key.charCodeAt(index);
    hash = Math.imul(hash ^ (unit & 0xff), 0x01000193);
    hash = Math.imul(hash ^ (unit >>> 8), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 0x1_0000_0000;
}

/**
 * The arm of a user's point. The canary takes [0, canaryShare), so that who is in at 1 % is still in at 5 %; the
 * holdback takes [1 - holdback, 1), the other end, so that a growing canary never reaches it. Shares that add up to
 * more than 1 do not exist (the store refuses them); should they, the holdback keeps its users. It keeps them through the
 * watch, too, when it has a version of its own and there is no canary any more.
 *
 * @param canaryAllowed false when the lease has run out or the canary is not loaded: its users are answered by stable
 * and counted as stable. With neither a canary nor a version of the holdback everyone is on stable.
 */
export function assignArm({
  point,
  route,
  canaryAllowed,
}: {
  point: number;
  route: { canary: number | null; canaryShare: number; holdback: number; holdbackVersion: number | null };
  canaryAllowed: boolean;
}): AssignedArm {
  if (route.canary === null && route.holdbackVersion === null) return 'stable';
  if (point >= 1 - route.holdback) return 'holdback';
  return route.canary !== null && canaryAllowed && point < route.canaryShare ? 'canary' : 'stable';
}
