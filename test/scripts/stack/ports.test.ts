import { createServer } from 'node:net';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { freePort } from '../../../scripts/stack/ports.ts';

test('a port that is taken gives way to a free one', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const taken = typeof address === 'object' && address !== null ? address.port : 0;
  const port = await freePort(taken);
  expect(port).not.toBe(taken);
  expect(port).toBeGreaterThan(0);
  server.close();
});

test('the same port is not given out twice', async () => {
  const first = await freePort();
  expect(await freePort(first)).not.toBe(first);
});
