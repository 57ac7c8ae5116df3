// One MCP session over Streamable HTTP, as the pool holds it: the link with its leases, our
// transport beneath it, and the four rungs of its end.

import '../host-fetch-guard.ts';
import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { againstSignal } from '../against-signal.ts';
import { StreamableHttpTransport } from '../http/streamable-http-transport.ts';
import type { HttpMessageExtra } from '../http/transport-options.ts';
import type { Replay } from '../policy/failure.ts';
import type { HttpTarget } from '../target.ts';
import type { ConnectContext, Connection, LeaseContext, SessionSettings } from './connector.ts';
import type { HttpShared } from './http-shared.ts';
import { LentClients } from './lent-clients.ts';
import type { OriginOf } from './server-messages.ts';
import { SessionLink } from './session-link.ts';
import { isForgotten } from './session-loss.ts';

/** A session found dead within this time of a sign of life did not die of being idle. */
const SILENCE_MS = 1_000;
/** What a session has in place of a client of its own. */
const NO_CLIENT = { close: (): Promise<void> => Promise.resolve() };
/** How long a server may take to end the session of a failed open. */
const ABANDON_MS = 1_000;

/** See the file header. */
export class HttpSession<C = Client> implements Connection<C> {
  readonly #target: HttpTarget;
  readonly #shared: HttpShared<C>;
  readonly #settings: SessionSettings;
  readonly #transport: StreamableHttpTransport;
  readonly #link: SessionLink;
  /** The pool has a handler of its own for what the server sends. */
  readonly #hasPoolListener: boolean;
  readonly #lent: LentClients<C>;
  /** When the server last answered, or a lease ended. */
  #aliveAt: number;
  /** Cancels that rung 1 sends. Rung 2 waits for them. */
  #cancels: readonly Promise<void>[] = [];

  constructor(target: HttpTarget, context: ConnectContext, shared: HttpShared<C>) {
    const { dispatchers } = shared;
    const { settings } = context;
    const { clock, random, maxMessageBytes, affine } = settings;
    this.#target = target;
    this.#shared = shared;
    this.#aliveAt = clock.now();
    this.#settings = settings;
    this.#lent = new LentClients(context.key, settings, shared);
    this.#transport = new StreamableHttpTransport(
      target.url,
      {
        headers: context.headers,
        authProvider: target.authProvider,
        notifications: false,
        maxMessageBytes,
        clock,
        random,
        onStreamSlowed: settings.onStreamSlowed,
      },
      {
        dispatchers: dispatchers.hold(),
        flows: shared.flows,
        oauth: shared.line.loadOAuth,
        onCredentialsFailed: (error) => context.credentialsFailed?.(error),
        isIdle: () => this.#lent.size === 0,
        onLost: (error) => this.#link.fate.forgotten(error),
        clearsFailedCalls: true,
      },
    );
    this.#link = new SessionLink(this.#transport, {
      clientInfo: settings.clientInfo,
      clientOptions: this.#lent.clientOptions,
      line: shared.line,
      clock,
      exclusive: settings.exclusive,
      originOf,
      onFlood: () => this.#transport.onFlood(),
      onTrouble: settings.onTrouble,
      onWorn: () => context.worn?.(),
      onThrottled: (retryAfterMs) => context.throttled?.(retryAfterMs),
      onRequest: context.onRequest,
      onNotification: context.onNotification,
      isToldAll: true,
      probeTimeoutMs: settings.probeTimeoutMs,
      // Who asks for an affine session next must not get one that is gone.
      ...(affine && { graceMs: 0 }),
    });
    this.#hasPoolListener = context.onRequest !== undefined || context.onNotification !== undefined;
    this.#link.lost.addEventListener('abort', () => this.#onLost(), { once: true });
  }

  /**
   * Runs the handshake. Rejects when it fails and when `signal` aborts, and then nothing is left of
   * it; if the server had made a session by then, after that has been ended, best effort.
   */
  async open(signal: AbortSignal): Promise<void> {
    try {
      await this.#link.open(signal);
    } catch (error) {
      await this.#abandonOpen(error);
      throw error;
    }
    // A server without sessions is listened to by calls alone.
    if (this.#link.isSessionless) return;
    const { notifications } = this.#target;
    const needed =
      this.#hasPoolListener ||
      this.#lent.clientOptions.listChanged !== undefined ||
      this.#settings.affine ||
      this.#shared.endpoints.needsStream(this.#endpoint);
    if (notifications ?? needed) this.#transport.listen();
  }

  /**
   * Every lease gets a client of its own, and the session has none: it takes 4 KiB. The pool closes
   * this one in a teardown, and does nothing else with it.
   */
  get client(): C & typeof NO_CLIENT {
    return NO_CLIENT as C & typeof NO_CLIENT;
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

  /** The server has answered `initialize`: it speaks this protocol, whatever else went wrong. */
  get isSpoken(): boolean {
    return this.#transport.protocolVersion !== undefined;
  }

  lend(lease: LeaseContext): C {
    return this.#lent.lend(this.#link, lease, () => this.#listen());
  }

  giveBack(client: C): 'clean' | 'tainted' {
    this.#aliveAt = this.#settings.clock.now();
    return this.#lent.giveBack(client);
  }

  replayOf(client: C, cause: unknown): Replay {
    return this.#lent.replayOf(this.#link, client, cause);
  }

  probe(signal: AbortSignal): Promise<void> {
    return this.#link.lane.ping(signal);
  }

  fence(reason: Error): void {
    // A server that will get no DELETE is told what nobody waits for any more. Best effort. One
    // that keeps no session sees the streams of its calls end.
    const isTold = this.#transport.sessionId !== undefined || this.#link.isSessionless;
    if (!isTold && this.#cancels.length === 0) {
      // Nobody may be waiting yet when one fails: rung 2 may come late, or never. Whoever made the
      // call is told by the link; a server that is not works in vain, no more.
      this.#cancels = this.#link.inFlight.map(({ id }) => this.#cancelCall(id).catch(() => {}));
    }
    this.#link.fence(reason);
    this.#transport.fence(reason);
  }

  async terminate(signal: AbortSignal): Promise<void> {
    // No session to end, but calls. Without the wait, rung 4 aborts the cancels unsent.
    if (this.#transport.sessionId === undefined) {
      await againstSignal(signal, Promise.allSettled(this.#cancels));
    } else if (!this.#isGoneByServer()) {
      await this.#transport.terminateSession({ signal });
    }
  }

  sever(reason: Error): void {
    this.#link.sever(reason);
    this.#transport.sever(reason);
    this.#lent.release();
  }

  get #endpoint(): string {
    return String(this.#target.url);
  }

  /** Somebody listens to what the server sends by itself. */
  #listen(): void {
    // `false` is the caller's word that there is to be none. A server without sessions has none.
    const mayListen = this.#target.notifications !== false && !this.#link.isSessionless;
    if (mayListen) this.#transport.listen();
  }

  #isGoneByServer(): boolean {
    return isForgotten(this.#link.gone()?.cause);
  }

  #onLost(): void {
    const { endpoints } = this.#shared;
    const now = this.#settings.clock.now();
    if (!this.#isGoneByServer() || now - this.#aliveAt < SILENCE_MS) return;
    endpoints.silentDeath(this.#endpoint, this.#transport.everListened, now);
  }

  async #abandonOpen(cause: unknown): Promise<void> {
    const reason = new Error('The session could not be opened', { cause });
    this.#transport.fence(reason);
    const { clock, closeTimeoutMs } = this.#settings;
    const timer = clock.setTimeout(
      () => this.sever(reason),
      Math.min(ABANDON_MS, closeTimeoutMs / 2),
    );
    try {
      // Bound: the timer, which aborts it.
      await this.#transport.terminateSession();
    } catch {
      // The caller gets the open's own error, which says more.
    } finally {
      clock.clearTimeout(timer);
      this.sever(reason);
    }
  }

  async #cancelCall(requestId: number): Promise<void> {
    const params = { requestId, reason: 'The session is closing' };
    const method = 'notifications/cancelled';
    await this.#transport.sendLastWord({ jsonrpc: '2.0', method, params });
  }
}

/** Our transport says on which call's response a message came; its ids are the link's numbers. */
const originOf: OriginOf = (_message, extra?: HttpMessageExtra) => {
  const id = extra?.relatedRequestId;
  return id === undefined ? undefined : Number(id);
};
