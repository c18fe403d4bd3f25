import { Client, Connection } from '@temporalio/client';
import { messageOf } from '../stack/say.ts';
import { type Installation, readInstallation } from '../stack/installation.ts';
import { type Database, openDatabase } from '../../store/database.ts';

/** The connections of one command, opened when first used and closed together. */
export class Access {
  readonly env: NodeJS.ProcessEnv;
  #installation: Installation | null = null;
  #database: Database | null = null;
  #connection: Connection | null = null;

  constructor(env: NodeJS.ProcessEnv = process.env) {
    this.env = env;
  }

  async installation(): Promise<Installation> {
    this.#installation ??= await readInstallation(this.env);
    return this.#installation;
  }

  async database(): Promise<Database> {
    this.#database ??= openDatabase((await this.installation()).databaseUrl);
    return this.#database;
  }

  /** @throws Error that names the address and says what to do when no server answers there. */
  async temporal(): Promise<Client> {
    const { temporalAddress: address, temporalNamespace: namespace } = await this.installation();
    this.#connection ??= await Connection.connect({ address, connectTimeout: '3s' }).catch((error: unknown) => {
      throw new Error(
        `Temporal at ${address} can not be reached (${messageOf(error)}): start it with "freshet up", ` +
          'or set TEMPORAL_ADDRESS to the address of one that runs',
      );
    });
    return new Client({ connection: this.#connection, namespace });
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.#database?.end(), this.#connection?.close()]);
  }
}
