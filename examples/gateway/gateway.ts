// The gateway: HTTP in, pool out. One path for each upstream server (`/<name>/mcp`), not one path
// for all with prefixed names: what is passed on stays as the server made it. Resource URIs,
// cursors, completions, names in texts and in structured results can't be prefixed soundly, and a
// client sees just the capabilities that its server has. Clients join servers themselves.

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { isInitializeRequest } from '@modelcontextprotocol/sdk/types.js';
import {
  type CloseOptions,
  type CloseReport,
  SessionPool,
  type SessionTarget,
} from 'mcp-session-pool';
import type { Logger } from 'pino';
import type { GatewayConfig, UserConfig } from './config.ts';
import * as door from './door.ts';
import { DownstreamSession } from './downstream-session.ts';
import { methodNotFound, refusalOf, unavailable } from './refusals.ts';
import type { Offer } from './relay.ts';
import { capabilitiesOfClient, capabilitiesOfServer } from './relayed.ts';
import { SessionTable } from './session-table.ts';
import { Users } from './users.ts';

/** How long the last answers may take to get out, once the pool is closed. */
const FLUSH_MS = 1_000;
/** A body that takes longer is not sent in earnest. */
const BODY_TIMEOUT_MS = 30_000;

/** A request, and who makes it. */
interface Visit {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly user: UserConfig;
  readonly serverName: string;
}

type Message = Record<string, unknown>;

export class Gateway {
  readonly #config: GatewayConfig;
  readonly #logger: Logger;
  #users: Users;
  readonly #sessions: SessionTable;
  readonly #pool: SessionPool;
  readonly #http = createServer((request, response) => this.#onRequest(request, response));
  readonly #open = new Set<ServerResponse>();
  readonly #allowed: { readonly hosts: Set<string>; readonly origins: Set<string> };
  #closing: Promise<CloseReport> | undefined;

  constructor(config: GatewayConfig, logger: Logger) {
    this.#config = config;
    this.#logger = logger;
    this.#users = new Users(config.users);
    this.#sessions = new SessionTable(config.limits);
    this.#http.requestTimeout = BODY_TIMEOUT_MS;
    // A stream, a call or two, an answer to a question.
    this.#http.maxConnections = config.limits.maxSessions * 4;
    this.#allowed = {
      hosts: new Set(['127.0.0.1', 'localhost', ...config.allowedHosts]),
      origins: new Set(config.allowedOrigins),
    };
    this.#pool = new SessionPool({
      clientInfo: { name: 'example-gateway', version: '1.0.0' },
      requireIdentity: true,
      // Every downstream session has one, and those that are closing count too.
      maxSessions: config.limits.maxSessions * 2,
      // The downstream session ends first, and takes it along.
      affinityIdleTimeoutMs: config.limits.sessionIdleMs * 2,
      logger,
      // What belongs to no call belongs to the downstream session whose upstream session it is.
      onNotification: (notification, { affinity }) => {
        this.#sessions.get(affinity ?? '')?.hear(notification);
      },
      onRequest: (question, { affinity, signal }) => {
        const session = this.#sessions.get(affinity ?? '');
        if (session === undefined) throw methodNotFound();
        return session.ask(question, signal);
      },
    });
  }

  /** Starts to listen, on 127.0.0.1. Returns the origin. */
  async listen(): Promise<string> {
    this.#http.listen(this.#config.port, '127.0.0.1');
    await once(this.#http, 'listening');
    const { port } = this.#http.address() as AddressInfo;
    return `http://127.0.0.1:${port}`;
  }

  /**
   * Other users, or other credentials of theirs. Sessions go on with what is valid now; those of
   * users who have lost access end at once, calls under way included.
   */
  setUsers(users: readonly UserConfig[]): void {
    this.#users = new Users(users);
    this.#sessions.end(({ userId, serverName }) => !this.#users.mayUse(userId, serverName));
    // The sessions that the calls of a user share belong to no downstream session.
    const isGone = (identity = ''): boolean => !this.#users.has(identity);
    this.#pool.retire(({ identity }) => isGone(identity), { leased: 'now' });
  }

  /**
   * Refuses what is new, lets calls finish for `drainTimeoutMs`, ends everything. Calling it again
   * gives the same promise, and can shorten the drain.
   */
  close(options: CloseOptions): Promise<CloseReport> {
    const poolClosed = this.#pool.close(options);
    this.#closing ??= this.#finish(poolClosed);
    return this.#closing;
  }

  async #finish(poolClosed: Promise<CloseReport>): Promise<CloseReport> {
    // Order: it listens until the calls are over. A client that is asked something in mid-call may
    // need a new connection for its answer.
    const report = await poolClosed;
    await this.#untilSent((response) => response.req.method === 'POST');
    this.#sessions.end(() => true);
    this.#http.close();
    await this.#untilSent(() => true);
    this.#http.closeAllConnections();
    return report;
  }

  /** Bound: a client that does not read is not waited for. */
  async #untilSent(isMeant: (response: ServerResponse) => boolean): Promise<void> {
    const enough = new AbortController();
    const sent = [...this.#open].filter(isMeant).map((response) => once(response, 'close'));
    const timeout = sleep(FLUSH_MS, undefined, enough).catch(() => {});
    await Promise.race([Promise.allSettled(sent), timeout]);
    enough.abort();
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    this.#open.add(response);
    response.once('close', () => this.#open.delete(response));
    this.#serve(request, response).catch((error: unknown) => {
      this.#refuse(response, error);
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    door.checkHostAndOrigin(request, this.#allowed);
    if (request.url === '/healthz') return this.#tellHealth(response);
    const user = this.#users.verify(request.headers.authorization);
    if (user === undefined) throw door.unauthorized();
    const serverName = /^\/([a-z0-9-]+)\/mcp$/.exec(request.url ?? '')?.[1];
    if (serverName === undefined || !Object.hasOwn(this.#config.servers, serverName)) {
      throw door.notFound();
    }
    if (!this.#users.mayUse(user.id, serverName)) throw door.noAccess();
    const visit = { request, response, user, serverName };
    switch (request.method) {
      case 'GET':
        this.#refuseWhileClosing();
        return this.#sessionOf(visit).handle(request, response);
      case 'DELETE':
        this.#sessionOf(visit).end();
        response.writeHead(200).end();
        return;
      case 'POST':
        return this.#onPost(visit);
      default:
        throw door.methodNotAllowed();
    }
  }

  async #onPost(visit: Visit): Promise<void> {
    const { request, response } = visit;
    const message = await door.readMessage(request, this.#config.limits.maxBodyBytes);
    try {
      // Answers and notifications pass: calls that are under way may depend on them.
      if ('id' in message && 'method' in message) this.#refuseWhileClosing();
      if (request.headers['mcp-session-id'] === undefined) await this.#openSession(visit, message);
      else await this.#sessionOf(visit).handle(request, response, message);
    } catch (error) {
      this.#refuse(response, error, message['id']);
    }
  }

  async #openSession(visit: Visit, message: Message): Promise<void> {
    const { request, response, user, serverName } = visit;
    if (!isInitializeRequest(message)) throw door.badRequest('Expected a session id');
    const giveRoomBack = this.#sessions.takeRoom(user.id);
    const id = randomUUID();
    const target = this.#targetFor(visit, id, message);
    const onEnd = (): void => {
      this.#sessions.delete(id);
      giveRoomBack();
      // At once: whoever made the calls on it is gone. A target without affinity matches nothing.
      this.#pool.retire({ affinity: id }, { leased: 'now' });
    };
    try {
      const offer = await this.#offerOf(target, response);
      // The users may have changed since.
      if (!this.#users.mayUse(user.id, serverName)) throw door.noAccess();
      const { limits } = this.#config;
      const pool = this.#pool;
      const names = { id, userId: user.id, serverName };
      const session = new DownstreamSession({ ...names, pool, target, offer, limits, onEnd });
      this.#sessions.add(session);
      await session.open(request, response, message);
    } catch (error) {
      const session = this.#sessions.get(id);
      if (session === undefined) onEnd();
      else session.end();
      throw error;
    }
  }

  /** Where the calls of a downstream session go, and as whom. */
  #targetFor({ user, serverName }: Visit, sessionId: string, message: Message): SessionTarget {
    const server = this.#config.servers[serverName]!;
    const { capabilities } = message['params'] as { capabilities?: unknown };
    const hasOwnSession = server.sessions === 'per-session';
    const scope = {
      identity: user.id,
      capabilities: capabilitiesOfClient(capabilities),
      ...(hasOwnSession && { affinity: sessionId }),
    };
    if ('command' in server) {
      const { command, args, credentialVariable } = server;
      const env = this.#users.environmentFor(user.id, serverName, credentialVariable);
      return { ...scope, command, args, env };
    }
    const headers = () => this.#users.headersFor(user.id, serverName);
    return { ...scope, url: server.url, headers, ...(!hasOwnSession && { notifications: false }) };
  }

  /** Opens the upstream session, or finds one, and asks what its server is. */
  async #offerOf(target: SessionTarget, response: ServerResponse): Promise<Offer> {
    const controller = new AbortController();
    const onClose = (): void => controller.abort(new Error('The client is gone'));
    response.once('close', onClose);
    try {
      return await this.#pool.use(
        target,
        (client) => ({
          serverInfo: client.getServerVersion() ?? { name: 'unknown', version: '0' },
          capabilities: capabilitiesOfServer(
            client.getServerCapabilities(),
            target.affinity !== undefined,
          ),
          instructions: client.getInstructions(),
        }),
        { signal: controller.signal },
      );
    } finally {
      response.off('close', onClose);
    }
  }

  #sessionOf({ request, user, serverName }: Visit): DownstreamSession {
    const id = String(request.headers['mcp-session-id'] ?? '');
    const session = this.#sessions.find(id, { userId: user.id, serverName });
    // A client that is told 404 begins anew, which is all that helps when the state is gone.
    if (session === undefined || session.isLost) throw door.unknownSession();
    return session;
  }

  #refuseWhileClosing(): void {
    if (this.#closing !== undefined) {
      throw unavailable('SHUTTING_DOWN', 'The gateway is shutting down');
    }
  }

  #refuse(response: ServerResponse, error: unknown, id?: unknown): void {
    // The client has left: that is what failed, and nobody is there to be told.
    if (response.destroyed) return;
    const refusal = refusalOf(error);
    if (refusal.status === 500) this.#logger.error({ err: error }, 'A request failed');
    door.sendRefusal(response, refusal, id);
  }

  /** Numbers only: whoever can reach the port can ask. */
  #tellHealth(response: ServerResponse): void {
    const isClosing = this.#closing !== undefined;
    const { sessions, waiting, totals } = this.#pool.stats();
    const health = {
      status: isClosing ? 'closing' : 'ok',
      downstreamSessions: this.#sessions.size,
      openResponses: this.#open.size,
      upstreamSessions: sessions,
      waiting,
      totals,
    };
    const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' };
    response.writeHead(isClosing ? 503 : 200, headers).end(JSON.stringify(health));
  }
}
