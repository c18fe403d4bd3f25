import { lineConfigSchema, type LineConfig, type LineConfigInput } from '../../config/schema.ts';

/** The columns of `config/kuairand.yaml`, read from a lake, with what is known of their values, for cycles of four hours. */
export function benchConfig(changes: { lake?: string; features?: LineConfigInput['features'] } = {}): LineConfig {
  return lineConfigSchema.parse({
    line: 'kuairand',
    source: {
      kind: 'lake',
      path: changes.lake ?? 'lake.parquet',
      columns: {
        ...{ user: 'user_id', item: 'video_id', time: 'time_ms', arrivedAt: 'arrived_at_ms' },
        ...{ impressionId: 'impression_id', requestId: 'request_id', label: 'is_click', labelAt: 'known_at_ms' },
        ...{ position: 'position', version: 'version', arm: 'arm', propensity: 'propensity', score: 'score' },
      },
    },
    features: [...FEATURES, ...(changes.features ?? [])],
    label: { event: 'click', maturity: '30m' },
    // A cycle of this thin log has 400 to 5,000 rows.
    snapshot: { minRows: 200 },
  });
}

const FEATURES: LineConfigInput['features'] = [
  { kind: 'categorical', name: 'user', field: 'user_id', from: 'user', buckets: 100_003 },
  { kind: 'categorical', name: 'video_id', buckets: 20_011 },
  { kind: 'categorical', name: 'author_id', buckets: 20_011 },
  { kind: 'categorical', name: 'tag', buckets: 1_009, dim: 4 },
  {
    kind: 'categorical',
    name: 'tab',
    from: 'context',
    buckets: 97,
    dim: 4,
    expect: { values: Array.from({ length: 15 }, (_, tab) => tab) },
  },
  { kind: 'categorical', name: 'user_active_degree', from: 'user', buckets: 97, dim: 4 },
  { kind: 'categorical', name: 'upload_type', buckets: 97, dim: 4 },
  { kind: 'numeric', name: 'duration_ms', transform: 'log1p', expect: { min: 0, max: 86_400_000 } },
  { kind: 'numeric', name: 'freshness_days' },
];
