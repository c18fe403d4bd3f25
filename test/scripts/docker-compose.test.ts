import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { SEARCH_ATTRIBUTES } from '../../scripts/stack/temporal-server.ts';

const service = z.object({
  image: z.string(),
  command: z.array(z.string()).optional(),
  ports: z.array(z.string()).optional(),
});
const compose = z.object({ services: z.record(z.string(), service) });

test('the containers register the search attributes that cycles set, pin their versions and listen to this machine alone', async () => {
  const { services } = compose.parse(
    parse(await readFile(new URL('../../docker-compose.yml', import.meta.url), 'utf8')),
  );
  const script = services['temporal-namespace']?.command?.join('\n') ?? '';
  for (const [name, type] of Object.entries(SEARCH_ATTRIBUTES)) expect(script).toContain(`${name}:${type}`);
  for (const { image, ports = [] } of Object.values(services)) {
    expect(image).toMatch(/:\d+\.\d+/);
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
  }
});
