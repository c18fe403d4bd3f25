import type { AlertChannel } from '../store/outbox.ts';
import type { Alert } from '../store/types.ts';
import { cut, headline } from './alert-text.ts';
import { postAlert } from './post-alert.ts';

/** Slack's own limits (Block Kit reference), beyond which it refuses a message as a whole; the last three are what one reads. */
const MAX = {
  header: 150,
  text: 3_000,
  fields: 10,
  field: 2_000,
  blocks: 50,
  notification: 400,
  line: 400,
  lines: 6,
} as const;
const SIGNS = { info: 'ℹ️', warning: '⚠️', critical: '🚨', resolved: '✅' } as const;

/** All alerts to one Slack channel, by an incoming webhook. */
export function createSlackChannel({
  webhookUrl,
  timeoutMs,
}: {
  webhookUrl: string;
  timeoutMs?: number;
}): AlertChannel {
  return {
    name: 'slack',
    async deliver(alert) {
      await postAlert({
        service: 'Slack',
        url: webhookUrl,
        body: slackMessage(alert),
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
      });
    },
  };
}

type Text = { type: 'plain_text'; text: string; emoji: boolean } | { type: 'mrkdwn'; text: string };
type Block =
  | { type: 'header'; text: Text }
  | { type: 'section'; text: Text }
  | { type: 'section'; fields: Text[] }
  | { type: 'context'; elements: Text[] };

/**
 * The message of an alert: `text` is what notifications show, `blocks` what the channel does. Made for the width of a phone:
 * what happened, why in a few lines, then the figures, each under its name.
 */
export function slackMessage(alert: Alert): { text: string; blocks: Block[] } {
  const { severity, line, title, text, fields, url, dedupKey, incident } = alert;
  const entries = Object.entries(fields).map(([name, value]) =>
    markdown(`*${escaped(inWords(name))}*\n${escaped(String(value))}`, MAX.field),
  );
  const sections: Block[] = [];
  for (let start = 0; start < entries.length; start += MAX.fields) {
    sections.push({ type: 'section', fields: entries.slice(start, start + MAX.fields) });
  }
  const link: Block[] =
    url === undefined ? [] : [{ type: 'section', text: markdown(`<${linked(url)}|Open the run>`, MAX.text) }];
  const sign = incident?.action === 'resolve' ? SIGNS.resolved : SIGNS[severity];
  const blocks: Block[] = [
    { type: 'header', text: { type: 'plain_text', text: cut(`${sign} ${title}`, MAX.header), emoji: true } },
    { type: 'section', text: markdown(escaped(shortened(text === '' ? title : text)), MAX.text) },
    ...sections.slice(0, MAX.blocks - 4),
    ...link,
    { type: 'context', elements: [markdown(escaped(`${severity} · ${line} · ${dedupKey}`), MAX.text)] },
  ];
  const { observed, expected } = fields;
  const figures = observed === undefined || expected === undefined ? '' : `: ${observed}, expected ${expected}`;
  return { text: escaped(cut(`[${severity}] ${headline(alert)}${figures}`, MAX.notification)), blocks };
}

/** Of many reasons the first ones: the run has them all. */
function shortened(text: string): string {
  const lines = text.split('\n');
  const kept = lines.slice(0, MAX.lines).map((line) => cut(line, MAX.line));
  if (lines.length > MAX.lines) kept.push(`and ${String(lines.length - MAX.lines)} more`);
  return kept.join('\n');
}

/** `stableAtStart` as `stable at start`. */
function inWords(name: string): string {
  return name.replace(/([a-z])([A-Z])/g, (_, before: string, letter: string) => `${before} ${letter.toLowerCase()}`);
}

function markdown(text: string, max: number): Text {
  return { type: 'mrkdwn', text: cut(text, max) };
}

/** Slack's three control characters; unescaped, a value such as `<!channel>` would notify everybody. */
function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** A URL inside `<...|...>`: the characters that would end it are encoded. */
function linked(url: string): string {
  return escaped(url.replaceAll('|', '%7C').replaceAll('<', '%3C').replaceAll('>', '%3E'));
}
