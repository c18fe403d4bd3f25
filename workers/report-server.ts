import fastify from 'fastify';
import type { Logger } from 'pino';
import { snapshotReport } from '../activities/snapshot-report.ts';
import type { ArtifactStore } from '../store/artifacts.ts';
import type { Database } from '../store/database.ts';

const SNAPSHOT_ID = /^[0-9a-f]{64}$/;

/**
 * Serves `GET /reports/SNAPSHOT`: the pages that the details of a cycle link to. Reads only. A port that is taken is said
 * and left alone: cycles do not wait for pictures.
 *
 * @returns null when it does not serve.
 */
export async function startReportServer(options: {
  db: Database;
  artifacts: ArtifactStore;
  logger: Logger;
  host: string;
  port: number;
}): Promise<{ stop: () => Promise<void> } | null> {
  const { db, artifacts, logger, host, port } = options;
  const server = fastify();
  server.get<{ Params: { snapshotId: string } }>('/reports/:snapshotId', async (request, reply) => {
    const { snapshotId } = request.params;
    if (!SNAPSHOT_ID.test(snapshotId)) {
      return reply.code(404).type('text/plain').send('expected the id of a snapshot: 64 hexadecimal digits\n');
    }
    try {
      return await reply.type('text/html').send(await snapshotReport({ db, artifacts }, snapshotId));
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      logger.warn({ snapshotId, message }, 'a data report could not be drawn');
      return reply
        .code(message.startsWith('no snapshot') ? 404 : 500)
        .type('text/plain')
        .send(`${message}\n`);
    }
  });
  try {
    await server.listen({ host, port });
  } catch (error) {
    logger.warn(
      { host, port, error: String(error) },
      'data reports are not served: set FRESHET_REPORTS_PORT to a free port',
    );
    await server.close();
    return null;
  }
  return { stop: () => server.close() };
}
