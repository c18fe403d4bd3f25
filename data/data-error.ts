/** The data, or what the config says of it, is wrong: trying again with the same input can not help. */
export class DataError extends Error {
  override readonly name = 'DataError';
}
