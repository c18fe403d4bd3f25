import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isSupportedNode, problemWithDependencies } from '../../scripts/requirements.mjs';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'freshet-bootstrap-'));
  lock('package-lock.json', {
    '': {},
    'node_modules/pg': { version: '8.0.0' },
    'node_modules/win': { version: '1.0.0', optional: true },
  });
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

test('a fresh clone installs', () => {
  expect(problemWithDependencies(root)).toBe('not installed yet');
});

test('what matches the lock file is left alone, whoever installed it', () => {
  lock('node_modules/.package-lock.json', { 'node_modules/pg': { version: '8.0.0' } });
  expect(problemWithDependencies(root)).toBeNull();
});

test('an interrupted installation, which has no record yet, is done again', () => {
  mkdirSync(join(root, 'node_modules', 'pg'), { recursive: true });
  expect(problemWithDependencies(root)).toBe('not installed yet');
});

test('a changed lock file installs again and says why', () => {
  lock('node_modules/.package-lock.json', { 'node_modules/pg': { version: '7.9.0' } });
  expect(problemWithDependencies(root)).toBe('pg is not at 8.0.0');
});

test.each([
  ['18.20.0', false],
  ['20.18.3', false],
  ['20.19.0', true],
  ['24.0.0', true],
])('Node.js %s is supported: %s', (version, supported) => {
  expect(isSupportedNode(version)).toBe(supported);
});

function lock(path: string, packages: Record<string, object>): void {
  mkdirSync(join(root, path, '..'), { recursive: true });
  writeFileSync(join(root, path), JSON.stringify({ packages }));
}
