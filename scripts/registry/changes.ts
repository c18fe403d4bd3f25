import { configDifferences, type ConfigDifference } from '../../policy/config-differences.ts';
import type { VersionRecord } from '../../store/types.ts';

/** What a version was made with that another one was not. */
export interface Changes {
  /** Null where one of the two has no config on record. */
  config: ConfigDifference[] | null;
  configHash: { before: string | null; after: string | null };
  features: { added: string[]; removed: string[]; changed: ConfigDifference[] };
  environment: ConfigDifference[];
  codeVersion: ConfigDifference[];
}

export function changesBetween(before: VersionRecord, after: VersionRecord): Changes {
  const [left, right] = [before.lineage, after.lineage];
  const names = (version: VersionRecord): string[] => version.features.map(({ name }) => name);
  const [old, now] = [names(before), names(after)];
  return {
    config:
      left.config === undefined || right.config === undefined
        ? null
        : configDifferences({ ...left.config, features: null }, { ...right.config, features: null }),
    configHash: { before: left.configHash ?? null, after: right.configHash ?? null },
    features: {
      added: now.filter((name) => !old.includes(name)),
      removed: old.filter((name) => !now.includes(name)),
      changed: now.filter((name) => old.includes(name)).flatMap((name) => featureChanges(name, before, after)),
    },
    environment: configDifferences(left.environment ?? {}, right.environment ?? {}),
    codeVersion: configDifferences({ codeVersion: left.codeVersion }, { codeVersion: right.codeVersion }),
  };
}

/** `training.learningRate: 0.001 -> 0.0005`, one for each difference of the config and its features. */
export function describeConfigChanges({ config, features }: Changes): string[] {
  return [
    ...(config ?? []).map(describeDifference),
    ...features.added.map((name) => `features: ${name} was added`),
    ...features.removed.map((name) => `features: ${name} was removed`),
    ...features.changed.map((difference) => `features: ${describeDifference(difference)}`),
  ];
}

export function describeDifference({ path, before, after }: ConfigDifference): string {
  return `${path}: ${valueOf(before)} -> ${valueOf(after)}`;
}

function featureChanges(name: string, before: VersionRecord, after: VersionRecord): ConfigDifference[] {
  const of = ({ features }: VersionRecord): object => ({ [name]: features.find((feature) => feature.name === name) });
  return configDifferences(of(before), of(after));
}

function valueOf(value: unknown): string {
  return value === undefined ? '(none)' : JSON.stringify(value);
}
