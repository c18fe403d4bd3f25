import fastify, { type FastifyReply } from 'fastify';
import type { Logger } from 'pino';
import { snapshotReport } from '../activities/snapshot-report.ts';
import { versionCard, versionList } from '../activities/version-card.ts';
import { cardPage } from '../data/card/page.ts';
import { resolveVersion } from '../store/aliases.ts';
import type { ArtifactStore } from '../store/artifacts.ts';
import type { Database } from '../store/database.ts';

const SNAPSHOT_ID = /^[0-9a-f]{64}$/;
/** What these messages begin with was asked for and is not there. */
const NOT_THERE = /^(no snapshot |no model line |line "[^"]*" has no )/;
/** The pages need nothing from elsewhere, and what is in them must not run. */
const NOTHING_FROM_ELSEWHERE = "default-src 'none'; style-src 'unsafe-inline'";

/**
 * Serves the pages that the details of a cycle link to: `GET /reports/SNAPSHOT`, `GET /cards/LINE/VERSION` (a number, an
 * alias, `stable`, `canary`, `shadow`) and `GET /cards/LINE`, its versions. Links between them are relative, so that they
 * hold behind any address whose `reports` and `cards` are neighbours. Reads only. A port that is taken is said and left
 * alone: cycles do not wait for pictures.
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
  const answer = async (reply: FastifyReply, what: object, draw: () => Promise<string>): Promise<FastifyReply> => {
    try {
      const page = await draw();
      return await reply.header('content-security-policy', NOTHING_FROM_ELSEWHERE).type('text/html').send(page);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const notThere = NOT_THERE.test(message);
      if (!notThere) logger.warn({ ...what, message }, 'a page could not be drawn');
      return await reply
        .code(notThere ? 404 : 500)
        .type('text/plain')
        .send(`${message}\n`);
    }
  };

  server.get<{ Params: { snapshotId: string } }>('/reports/:snapshotId', async (request, reply) => {
    const { snapshotId } = request.params;
    if (!SNAPSHOT_ID.test(snapshotId)) {
      return reply.code(404).type('text/plain').send('expected the id of a snapshot: 64 hexadecimal digits\n');
    }
    const cardHref = ({ line, version }: { line: string; version: number }): string =>
      `../cards/${line}/${String(version)}`;
    return answer(reply, { snapshotId }, () => snapshotReport({ db, artifacts }, snapshotId, { cardHref }));
  });
  server.get<{ Params: { line: string } }>('/cards/:line', async (request, reply) => {
    const { line } = request.params;
    const href = (version: number): string => `${line}/${String(version)}`;
    return answer(reply, { line }, async () => cardPage(await versionList(db, { line, href })));
  });
  server.get<{ Params: { line: string; version: string } }>('/cards/:line/:version', async (request, reply) => {
    const { line, version: name } = request.params;
    return answer(reply, { line, version: name }, async () => {
      const version = await resolveVersion(db, { line, version: name });
      const links = {
        version: String,
        snapshot: (snapshotId: string) => `../../reports/${snapshotId}`,
        versions: `../${line}`,
      };
      return cardPage(await versionCard(db, { line, version }, links));
    });
  });

  try {
    await server.listen({ host, port });
  } catch (error) {
    logger.warn(
      { host, port, error: String(error) },
      'data reports and model cards are not served: set FRESHET_REPORTS_PORT to a free port',
    );
    await server.close();
    return null;
  }
  return { stop: () => server.close() };
}
