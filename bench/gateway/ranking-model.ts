import type { Feature } from '../../config/schema.ts';
import { seededRandom } from '../../data/evaluation/random.ts';

/** Sixteen features as a feed has them: of the user, of the context and, most, of each candidate. */
export const FEATURES: Feature[] = [
  ...(['viewer', 'country'] as const).map((name) => categorical(name, 'user')),
  categorical('device', 'context'),
  ...(['item', 'author', 'category', 'language', 'format'] as const).map((name) => categorical(name, 'candidate')),
  ...(['user_clicks', 'user_age_days'] as const).map((name) => numeric(name, 'user')),
  ...(['age_hours', 'clicks', 'shows', 'rate', 'quality', 'length'] as const).map((name) => numeric(name, 'candidate')),
];

function categorical(name: string, from: Feature['from']): Feature {
  return { kind: 'categorical', name, from, buckets: 1_000, dim: 16 };
}

function numeric(name: string, from: Feature['from']): Feature {
  return { kind: 'numeric', name, from, transform: 'none' };
}

/** What the numeric features are divided by. */
const SCALES = [500, 1_000, 30, 1_000, 50_000, 0.1, 0.5, 150];
const DIM = 16;
const HIDDEN = [128, 64];
const [INT64, FLOAT] = [7, 1];

/**
 * A ranking model of the shape that the reference trainer makes for {@link FEATURES}, with random weights: embeddings of
 * 16 numbers, two hidden layers (128, 64), a probability. It keeps the contract of `openModel`.
 *
 * @param options.buckets rows of each of the eight embeddings: 1,000 make 0.6 MB, 65,536 make 34 MB.
 */
export function rankingModel(options: { seed: number; buckets: number }): Uint8Array {
  const random = seededRandom(options.seed);
  const { buckets } = options;
  const columns = FEATURES.filter(({ kind }) => kind === 'categorical').length;
  const dense = FEATURES.length - columns;
  const weights = (count: number, scale: number): Uint8Array => {
    const values = Float32Array.from({ length: count }, () => (random() * 2 - 1) * scale);
    return new Uint8Array(values.buffer);
  };
  const int64s = (...values: number[]): Uint8Array => new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
  const widths = [columns * DIM + dense, ...HIDDEN, 1];
  const layers = widths.slice(1).map((width, index) => {
    const from = widths[index] ?? 0;
    return { from, width, name: String(index), last: index === HIDDEN.length };
  });
  const nodes = [
    node('Mod', ['ids', 'buckets'], 'rows'),
    node('Add', ['rows', 'offsets'], 'places'),
    node('Gather', ['table', 'places'], 'embedded'),
    node('Reshape', ['embedded', 'flat'], 'sparse'),
    node('IsNaN', ['dense'], 'missing'),
    node('Where', ['missing', 'zero', 'dense'], 'filled'),
    node('Div', ['filled', 'scale'], 'scaled'),
    node('Concat', ['sparse', 'scaled'], 'x0', { axis: 1 }),
    ...layers.flatMap(({ name, last }) => [
      node('Gemm', [`x${name}`, `w${name}`, `b${name}`], `y${name}`),
      node(last ? 'Sigmoid' : 'Relu', [`y${name}`], last ? 'p' : `x${String(Number(name) + 1)}`),
    ]),
    node('Reshape', ['p', 'line'], 'probability'),
  ];
  const tensors = [
    tensor('buckets', INT64, [1], int64s(buckets)),
    tensor('offsets', INT64, [columns], int64s(...Array.from({ length: columns }, (_, column) => column * buckets))),
    tensor('table', FLOAT, [columns * buckets, DIM], weights(columns * buckets * DIM, 0.5)),
    tensor('flat', INT64, [2], int64s(0, columns * DIM)),
    tensor('zero', FLOAT, [1], weights(1, 0)),
    tensor('scale', FLOAT, [dense], new Uint8Array(Float32Array.from(SCALES).buffer)),
    tensor('line', INT64, [1], int64s(-1)),
    ...layers.flatMap(({ name, from, width }) => [
      tensor(`w${name}`, FLOAT, [from, width], weights(from * width, Math.sqrt(3 / from))),
      tensor(`b${name}`, FLOAT, [width], weights(width, 0.1)),
    ]),
  ];
  const graph = concat(
    ...nodes.map((bytes) => field(1, bytes)),
    field(2, 'ranking'),
    ...tensors.map((bytes) => field(5, bytes)),
    field(11, value('ids', INT64, ['N', columns])),
    field(11, value('dense', FLOAT, ['N', dense])),
    field(12, value('probability', FLOAT, ['N'])),
  );
  const opset = concat(field(1, ''), number(2, 17));
  return concat(number(1, 8), field(2, 'freshet bench'), field(7, graph), field(8, opset));
}

/** The messages of onnx.proto that are needed, as protocol buffers. */
function node(type: string, inputs: string[], output: string, attributes: Record<string, number> = {}): Uint8Array {
  return concat(
    ...inputs.map((name) => field(1, name)),
    field(2, output),
    field(4, type),
    ...Object.entries(attributes).map(([name, given]) =>
      field(5, concat(field(1, name), number(3, given), number(20, 2))),
    ),
  );
}

function tensor(name: string, type: number, dims: number[], raw: Uint8Array): Uint8Array {
  return concat(...dims.map((dim) => number(1, dim)), number(2, type), field(8, name), field(9, raw));
}

function value(name: string, type: number, dims: (number | string)[]): Uint8Array {
  const shape = concat(...dims.map((dim) => field(1, typeof dim === 'number' ? number(1, dim) : field(2, dim))));
  return concat(field(1, name), field(2, field(1, concat(number(1, type), field(2, shape)))));
}

function field(tag: number, content: Uint8Array | string): Uint8Array {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  return concat(varint(tag * 8 + 2), varint(bytes.byteLength), bytes);
}

const number = (tag: number, given: number): Uint8Array => concat(varint(tag * 8), varint(given));

function varint(given: number): Uint8Array {
  const bytes: number[] = [];
  let left = given;
  for (; left >= 128; left = Math.floor(left / 128)) bytes.push((left % 128) + 128);
  return Uint8Array.from([...bytes, left]);
}

const concat = (...parts: Uint8Array[]): Uint8Array => Buffer.concat(parts);
