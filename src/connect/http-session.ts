// One MCP session over Streamable HTTP, as the pool holds it: the link with its leases, the SDK's
// transport, the fence around it, its notification stream, and the four rungs of its end.

import '../host-fetch-guard.ts';
import type { Client, ClientOptions } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Implementation } from '@modelcontextprotocol/sdk/types.js';
import type { AbortFanout } from '../abort-fanout.ts';
import { MAX_TIMER_MS } from '../clock.ts';
import type { HttpTarget } from '../target.ts';
import { againstSignal } from './against-signal.ts';
import type { ConnectContext, Connection, LeaseContext } from './connector.ts';
import type { DispatcherHold } from './dispatchers.ts';
import { sendFailureOf, statusOf } from './failure-of.ts';
import type { HttpShared } from './http-connector.ts';
import { HttpTraffic } from './http-traffic.ts';
import { LeaseClient } from './lease-client.ts';
import type { LeaseTransport } from './lease-transport.ts';
import { NotificationStream } from './notification-stream.ts';
import { splitUserInfo } from './request-headers.ts';
import type { ValidatorsHold } from './schema-validators.ts';
import { SessionLink } from './session-link.ts';

const METHOD_NOT_FOUND = -32_601;

/** See the file header. */
export class HttpSession implements Connection<Client> {
  readonly #target: HttpTarget;
  readonly #endpoint: URL;
  readonly #clientInfo: Implementation;
  /** For the clients of leases. */
  readonly #clientOptions: ClientOptions;
  readonly #aborts: AbortFanout;
  readonly #dispatchers: DispatcherHold;
  readonly #validators: ValidatorsHold;
  readonly #traffic: HttpTraffic;
  readonly #transport: StreamableHTTPClientTransport;
  readonly #stream: NotificationStream;
  readonly #link: SessionLink;
  /** Clients that are lent, and their transports. */
  readonly #lent = new Map<Client, LeaseTransport>();
  /** Cancels that rung 1 sends, which never reject. Rung 2 waits for them. */
  #cancels: readonly Promise<void>[] = [];

  constructor(target: HttpTarget, context: ConnectContext, shared: HttpShared) {
    const { options, dispatchers, validators } = shared;
    const { clock, random, maxMessageBytes, leasesPerSession = 1, onTrouble } = options;
    const { endpoint, authorization } = splitUserInfo(new URL(target.url));
    this.#target = target;
    this.#endpoint = endpoint;
    this.#aborts = shared.aborts;
    this.#dispatchers = dispatchers.hold();
    this.#validators = validators.hold(context.key);
    this.#clientInfo = target.clientInfo ?? options.clientInfo;
    this.#clientOptions = {
      jsonSchemaValidator: this.#validators.provider,
      ...options.clientOptions,
      capabilities: target.capabilities ?? options.capabilities,
    };
    this.#stream = new NotificationStream({
      clock,
      open: (lastEventId) => {
        const errand = { purpose: 'stream', callId: undefined, headers: undefined } as const;
        return this.#traffic.run(errand, () => this.#transport.resumeStream(lastEventId));
      },
      onFailure: (error) => this.#onStreamFailure(error),
    });
    this.#traffic = new HttpTraffic({
      endpoint,
      authorization,
      sessionHeaders: context.headers,
      dispatchers: this.#dispatchers,
      context: shared.context,
      clock,
      fence: {
        maxMessageBytes,
        random,
        onStreamEnd: ({ lastEventId }) => this.#stream.onEnd(lastEventId),
      },
      carryStream: (fetch, url, init) => this.#stream.fetch(fetch, url, init),
    });
    const { authProvider } = target;
    this.#transport = new StreamableHTTPClientTransport(endpoint, {
      fetch: this.#traffic.fetch,
      ...(authProvider && { authProvider }),
      // We reopen what is to be reopened: the SDK's own attempts have no floor, cap or end (rows
      // 3-5).
      reconnectionOptions: {
        maxRetries: 0,
        initialReconnectionDelay: 1_000,
        maxReconnectionDelay: 300_000,
        reconnectionDelayGrowFactor: 2,
      },
    });
    this.#link = new SessionLink(this.#transport, {
      clientInfo: this.#clientInfo,
      clientOptions: this.#clientOptions,
      clock,
      exclusive: (target.leasesPerSession ?? leasesPerSession) === 1 && !target.affinity,
      originOf: () => this.#traffic.originOf(),
      carry: (origin, send) => this.#traffic.carry(origin, send),
      onFlood: () => this.#stream.onFlood(),
      onAnswered: (callId) => this.#traffic.fence.endCall(callId),
      onTrouble: (error) => {
        if (!isOurDoing(error)) onTrouble?.(context.key, error);
      },
    });
  }

  /** Runs the handshake. Rejects at once when `signal` aborts, and then nothing is left of it. */
  async open(signal: AbortSignal): Promise<void> {
    try {
      await this.#link.open(signal);
    } catch (error) {
      const reason = new Error('The session could not be opened', { cause: error });
      this.#traffic.fence.arm(reason);
      this.sever(reason);
      throw error;
    }
    const { notifications, affinity } = this.#target;
    const listens = this.#clientOptions.listChanged !== undefined || affinity !== undefined;
    if (notifications ?? listens) this.#stream.want();
  }

  get client(): Client {
    return this.#link.root;
  }

  get transport(): { close(): Promise<void> } {
    return this.#transport;
  }

  get sessionId(): string | undefined {
    return this.#transport.sessionId;
  }

  get lost(): AbortSignal {
    return this.#link.lost;
  }

  lend(lease: LeaseContext): Client {
    const transport = this.#link.attach(lease);
    const { onRequest, onNotification } = lease;
    const client = new LeaseClient({
      transport,
      clientInfo: this.#clientInfo,
      clientOptions: this.#clientOptions,
      handshake: this.#link.handshake,
      aborts: this.#aborts,
      onRequest,
      onNotification,
    });
    this.#lent.set(client, transport);
    // `notifications: false` is the caller's word that there is to be none.
    const listens = onRequest !== undefined || onNotification !== undefined;
    if (listens && this.#target.notifications !== false) this.#stream.want();
    return client;
  }

  giveBack(client: Client): 'clean' | 'tainted' {
    const transport = this.#lent.get(client);
    this.#lent.delete(client);
    transport?.end();
    return transport?.tainted ? 'tainted' : 'clean';
  }

  async probe(signal: AbortSignal): Promise<void> {
    try {
      // Bound: `signal` alone.
      await againstSignal(signal, this.#link.root.ping({ signal, timeout: MAX_TIMER_MS }));
    } catch (error) {
      // A server that knows no ping has answered all the same.
      if (!isMethodNotFound(error)) throw error;
    }
  }

  fence(reason: Error): void {
    this.#stream.stop();
    if (this.#transport.sessionId === undefined && this.#cancels.length === 0) {
      this.#cancels = this.#link.inFlight.map(({ id }) => this.#cancelCall(id));
    }
    this.#link.fence(reason);
    this.#traffic.fence.arm(reason);
  }

  async terminate(signal: AbortSignal): Promise<void> {
    const { sessionId, protocolVersion } = this.#transport;
    if (sessionId === undefined) {
      // No session to end, but calls. Without the wait, rung 4 aborts the cancels unsent.
      await againstSignal(signal, Promise.allSettled(this.#cancels));
      return;
    }
    // The server has told us that the session is gone.
    if (this.#isGoneByServer()) return;
    const headers: Record<string, string> = { 'mcp-session-id': sessionId };
    if (protocolVersion !== undefined) headers['mcp-protocol-version'] = protocolVersion;
    Object.assign(headers, await againstSignal(signal, this.#credentials()));
    const response = await this.#passThrough({ method: 'DELETE', headers, signal });
    // The status is the answer; a body that can't be cancelled is cut with the session.
    response.body?.cancel().catch(() => {});
    const { ok, status } = response;
    if (!ok && status !== 404 && status !== 405) {
      throw Object.assign(new Error(`The server refused to end the session: HTTP ${status}`), {
        status,
      });
    }
  }

  sever(reason: Error): void {
    this.#stream.stop();
    this.#link.sever(reason);
    this.#lent.clear();
    // Order: the sockets first, then the aborts. Each abort of a request whose pool still lives
    // opens a spare connection (row 13b).
    this.#dispatchers.release(reason);
    this.#traffic.fence.abortAll(reason);
    this.#validators.release();
  }

  #isGoneByServer(): boolean {
    const reason: unknown = this.#link.lost.reason;
    return this.#link.lost.aborted && statusOf((reason as Error).cause) === 404;
  }

  #onStreamFailure(error: unknown): void {
    // A server that never gave a stream answers so because it has none (a missing GET route is 404
    // in most frameworks). If the session were gone, the next POST would say so.
    const withSessionId = this.#transport.sessionId !== undefined && this.#stream.wasOpen;
    if (sendFailureOf(error, { withSessionId }).lost) this.#link.lose(error);
  }

  /** A server that gets no DELETE is told what nobody waits for any more. Best effort. */
  async #cancelCall(requestId: number): Promise<void> {
    const params = { requestId, reason: 'The session is closing' };
    const body = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params });
    const { protocolVersion } = this.#transport;
    const headers = {
      accept: 'application/json, text/event-stream',
      'content-type': 'application/json',
      ...(protocolVersion && { 'mcp-protocol-version': protocolVersion }),
    };
    try {
      Object.assign(headers, await this.#credentials());
      const response = await this.#passThrough({ method: 'POST', headers, body });
      await response.body?.cancel();
    } catch {
      // What it was to end ends with the session's sockets.
    }
  }

  /** What the SDK's transport would add for the target's `authProvider`. */
  async #credentials(): Promise<Record<string, string>> {
    const tokens = await this.#target.authProvider?.tokens();
    return tokens ? { authorization: `Bearer ${tokens.access_token}` } : {};
  }

  #passThrough(init: RequestInit): Promise<Response> {
    const errand = { purpose: 'teardown', callId: undefined, headers: undefined } as const;
    return this.#traffic.run(errand, () =>
      this.#traffic.fence.passThrough(this.#endpoint, { redirect: 'manual', ...init }),
    );
  }
}

/** What the transport reports though we asked for it: ended calls, and no retries of its own. */
function isOurDoing(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return error.name === 'AbortError' || error.message.startsWith('Maximum reconnection attempts');
}

function isMethodNotFound(error: unknown): boolean {
  return (
    typeof error === 'object' &&
    error !== null &&
    'code' in error &&
    error.code === METHOD_NOT_FOUND
  );
}
