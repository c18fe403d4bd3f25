import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * A fault to inject: while `<root>/HOLD` exists, writers hold back a share of what they seal, as a stuck shipper does, and
 * the newest stretch of the log is only partly loaded. Nothing is lost: when the file is gone, each writer publishes what
 * it held at its next seal, with the arrival time of that moment.
 */
const HOLD_FILE = 'HOLD';

/** Makes writers hold back this share (0 to 1) of the seals that follow. Spread evenly, so that a few seals suffice. */
export async function holdSegments(input: { root: string; share: number }): Promise<void> {
  if (!(input.share >= 0 && input.share <= 1)) {
    throw new Error(`the share of segments to hold must be from 0 to 1, got ${String(input.share)}`);
  }
  const path = join(input.root, HOLD_FILE);
  await writeFile(`${path}.tmp`, JSON.stringify({ share: input.share }));
  await rename(`${path}.tmp`, path);
}

/** Ends the hold. Does nothing when there is none. */
export async function releaseSegments(input: { root: string }): Promise<void> {
  await rm(join(input.root, HOLD_FILE), { force: true });
}

/** The share that is held back now; null without a hold. A file that says no share holds everything. */
export async function heldShare(root: string): Promise<number | null> {
  let text: string;
  try {
    text = await readFile(join(root, HOLD_FILE), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    const share = Number((JSON.parse(text) as { share?: unknown }).share);
    return share >= 0 && share <= 1 ? share : 1;
  } catch {
    return 1;
  }
}
