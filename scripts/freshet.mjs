#!/usr/bin/env node
// The `freshet` command: the production build where there is one, else the sources.
import { existsSync } from 'node:fs';

const built = new URL('../dist/scripts/freshet.js', import.meta.url);
if (existsSync(built)) {
  await import(built.href);
} else {
  const { register } = await import('tsx/esm/api');
  register();
  await import(new URL('./freshet.ts', import.meta.url).href);
}
