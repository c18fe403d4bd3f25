import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DataError } from '../../../data/data-error.ts';
import { loadFeatureHash } from '../../../features/feature-id.ts';
import { features, lake, range, type LakeInput } from './lake.ts';
import { loaded, START, temporaryFolder } from './loaded.ts';

describe('CSV', () => {
  const csv = async (text: string | Buffer): Promise<string> => {
    const path = join(await temporaryFolder(), 'rows.csv');
    await writeFile(path, text);
    return path;
  };
  const read = async (text: string | Buffer, input: Partial<LakeInput> = {}) =>
    loaded(lake({ path: await csv(text), format: 'csv', ...input }), { range, features });
  const head = 'u,i,t,clicked,topic,length\n';
  const line = (n: number, topic = 'news'): string => `u${String(n)},${String(n)},${String(START)},1,${topic},2\n`;

  test('with quotes, line ends within them and empty lines has as many rows as are counted apart', async () => {
    const { reading, rows } = await read(
      `${head}${line(1, '"a ""b"",\nc"')}\n${line(2, '5" wide')}\n${line(3)}`.trimEnd(),
    );
    expect(rows).toHaveLength(3);
    expect(reading.rows).toBe(3);
    const hash = await loadFeatureHash();
    expect(rows[0]?.features?.['topic']).toBe(String(hash('a "b",\nc')));
  });

  test('with broken lines gives them as rows that could not be read', async () => {
    const broken = `${head}${line(1)}u2,2\n${line(3)}u4,4,1,2,3,4,5,6\n${line(5, '"a"b')}${line(6)}`;
    const { reading, rows } = await read(
      Buffer.concat([Buffer.from(broken), Buffer.from('u7,7,\xff,1,a,2\n', 'latin1')]),
    );
    expect(rows.map(({ user_id }) => user_id).sort()).toEqual(['u1', 'u3', 'u6', null, null, null, null].sort());
    expect(rows.filter(({ impression_id }) => impression_id === null)).toHaveLength(4);
    expect(reading.rows).toBe(7);
  });

  test('files may have their columns in another order, other delimiters and Windows line ends', async () => {
    const root = await temporaryFolder();
    await writeFile(join(root, 'a.csv'), `${head}${line(1)}`.replaceAll(',', ';').replaceAll('\n', '\r\n'));
    await writeFile(join(root, 'b.csv'), `\ufeffi;u;t;topic;length;clicked\n2;u2;${String(START)};sport;;0\n`);
    const { reading, rows } = await loaded(lake({ path: join(root, '*.csv'), format: 'csv', delimiter: ';' }), {
      range,
      features,
    });
    expect(rows.map(({ user_id, item_id, features: made }) => [user_id, item_id, made?.['length']])).toEqual([
      ['u1', '1', '2'],
      ['u2', '2', null],
    ]);
    expect(reading.rows).toBe(2);
  });

  test('with a quote that is never closed is refused, since the rest of the file would vanish', async () => {
    const taken = read(`${head}${line(1)}${line(2, '"open')}${line(3)}`);
    await expect(taken).rejects.toThrow(DataError);
    await expect(taken).rejects.toThrow(/quote that opens in line 3 is never closed/);
  });

  test('with another delimiter names the column it found', async () => {
    await expect(read(head.replaceAll(',', ';'))).rejects.toThrow(
      /no column "u" .*; it has u;i;t;clicked;topic;length/,
    );
  });
});
