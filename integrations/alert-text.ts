import type { Alert } from '../store/types.ts';

/** The title with the line in front, unless it names the line itself. */
export function headline({ line, title }: Pick<Alert, 'line' | 'title'>): string {
  return title.split(/[ :,]/).includes(line) ? title : `${line}: ${title}`;
}

export function cut(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max - 1)}…`;
}
