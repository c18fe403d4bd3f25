import { lineConfigSchema, type LineConfig, type LineConfigInput } from '../../config/schema.ts';

/** A line with the production defaults, but for what is given. */
export function lineConfig(given: Partial<LineConfigInput> = {}): LineConfig {
  return lineConfigSchema.parse({ line: 'test-line', features: [{ kind: 'numeric', name: 'age' }], ...given });
}
