export { compareProfiles, type ColumnComparison, type CompareProfilesOptions } from './compare.ts';
export { distinctOf } from './distinct.ts';
export { mergeProfiles } from './merge.ts';
export type { CategoricalProfile, ColumnProfile, NumericProfile, Profile, ProfileSample } from './profile.ts';
export { profileColumns, type ProfileColumn } from './profile-columns.ts';
export { profileRelation } from './profile-relation.ts';
export {
  categoricalSample,
  categoryCounts,
  missingShare,
  numericSample,
  quantile,
  sampleRows,
  shareBelow,
  variance,
} from './read.ts';
export { parseProfile, serializeProfile } from './serialize.ts';
