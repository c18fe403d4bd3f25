import type { AlertChannel } from '../store/outbox.ts';
import type { Alert } from '../store/types.ts';
import { postAlert } from './post-alert.ts';

/** Slack's own limits (Block Kit reference); what is longer would be refused as a whole. */
const MAX = { header: 150, text: 3_000, fields: 10, field: 2_000, blocks: 50 } as const;

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

type Text = { type: 'plain_text' | 'mrkdwn'; text: string };
type Block =
  | { type: 'header'; text: Text }
  | { type: 'section'; text: Text }
  | { type: 'section'; fields: Text[] }
  | { type: 'context'; elements: Text[] };

/** The message of an alert: `text` is what notifications show, `blocks` what the channel does. */
export function slackMessage(alert: Alert): { text: string; blocks: Block[] } {
  const { severity, line, title, text, fields, url, dedupKey } = alert;
  const entries = Object.entries(fields).map(([name, value]) =>
    markdown(`*${escaped(name)}*\n${escaped(String(value))}`, MAX.field),
  );
  const sections: Block[] = [];
  for (let start = 0; start < entries.length; start += MAX.fields) {
    sections.push({ type: 'section', fields: entries.slice(start, start + MAX.fields) });
  }
  const link: Block[] =
    url === undefined ? [] : [{ type: 'section', text: markdown(`<${linked(url)}|Open the run>`, MAX.text) }];
  const blocks: Block[] = [
    { type: 'header', text: { type: 'plain_text', text: cut(title, MAX.header) } },
    { type: 'section', text: markdown(escaped(text === '' ? title : text), MAX.text) },
    ...sections.slice(0, MAX.blocks - 4),
    ...link,
    { type: 'context', elements: [markdown(escaped(`${severity} · ${line} · ${dedupKey}`), MAX.text)] },
  ];
  return { text: escaped(cut(`[${severity}] ${line}: ${title}`, MAX.text)), blocks };
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

function cut(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max - 1)}…`;
}
