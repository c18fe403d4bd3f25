export const OLDEST_NODE: string;
export function problemWithDependencies(root: string): string | null;
export function isSupportedNode(version: string): boolean;
