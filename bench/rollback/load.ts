import { Agent, request as httpRequest } from 'node:http';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { REQUEST_ID, slateBodies } from '../gateway/slates.ts';

/**
 * Sends rank requests to several gateways in turn at a steady rate, as a process of its own, and prints each answer as a
 * line: `[gateway, status, version, arm, epoch, sentAtMs, notBeforeMs, receivedAtMs]`, times in Unix ms. It came in between
 * the last two: a process that has to wait for the processor sees it late. What is not answered within ten seconds is `lost`; a
 * connection that breaks gives its error's code. Argument: JSON of the options below. The end of standard input ends it, once all are answered.
 */
const options = z
  .object({
    urls: z.array(z.string()).min(1),
    line: z.string(),
    rate: z.number().positive(),
    candidates: z.number(),
    limit: z.number(),
  })
  .parse(JSON.parse(process.argv[2] ?? '{}'));
const LOST_AFTER_MS = 10_000;
const PRINT_EVERY_MS = 25;

const { urls, line, rate, candidates, limit } = options;
const bodies = slateBodies({ line, candidates, limit, count: 500 });
const agents = urls.map(() => new Agent({ keepAlive: true, noDelay: true }));
const answerSchema = z.object({ version: z.number(), arm: z.string(), epoch: z.number() });
let lines: string[] = [];
let open = 0;
let sent = 0;
/** When this process last and last but one looked for what had come in. */
let looked = { lastMs: Date.now(), beforeMs: Date.now() };

function send(): void {
  const gateway = sent % urls.length;
  const body = (bodies[sent % bodies.length] ?? '').replace(
    REQUEST_ID,
    `r-${String(sent).padStart(REQUEST_ID.length - 2, '0')}`,
  );
  sent += 1;
  open += 1;
  const sentAtMs = Date.now();
  let told = false;
  const tell = (status: string, text = ''): void => {
    if (told) return;
    told = true;
    open -= 1;
    const receivedAtMs = Date.now();
    const { version, arm, epoch } =
      status === '200' ? answerSchema.parse(JSON.parse(text)) : { version: -1, arm: '', epoch: -1 };
    lines.push(JSON.stringify([gateway, status, version, arm, epoch, sentAtMs, looked.beforeMs, receivedAtMs]));
  };
  const lost = (error: NodeJS.ErrnoException): void => {
    tell(error.code ?? 'lost');
  };
  const request = httpRequest(
    `${urls[gateway] ?? ''}/v1/rank`,
    {
      method: 'POST',
      agent: agents[gateway],
      timeout: LOST_AFTER_MS,
      headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
    },
    (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', lost);
      response.on('end', () => {
        tell(String(response.statusCode), Buffer.concat(chunks).toString());
      });
    },
  );
  request.on('timeout', () => {
    tell('lost');
    request.destroy();
  });
  request.on('error', lost);
  request.end(body);
}

function print(): void {
  if (lines.length === 0) return;
  process.stdout.write(`${lines.join('\n')}\n`);
  lines = [];
}

let dueMs = performance.now();
const sending = setInterval(() => {
  looked = { lastMs: Date.now(), beforeMs: looked.lastMs };
  for (; dueMs <= performance.now(); dueMs += 1_000 / rate) send();
}, 1);
const printing = setInterval(print, PRINT_EVERY_MS);

createInterface({ input: process.stdin }).on('close', () => {
  clearInterval(sending);
  void (async () => {
    while (open > 0) await sleep(PRINT_EVERY_MS);
    clearInterval(printing);
    print();
    for (const agent of agents) agent.destroy();
  })();
});
