// One MCP session over any transport of the SDK, as the pool holds it: the link with its leases,
// and the four rungs of its end. What a kind of transport does in its own way is in the parts it is
// made of. Knows no HTTP and no process.

import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { JSONRPCNotification } from '@modelcontextprotocol/sdk/types.js';
import { againstSignal } from '../against-signal.ts';
import type { Replay } from '../policy/failure.ts';
import type { ConnectContext, Connection, LeaseContext, SessionSettings } from './connector.ts';
import { LentClients, type LentShared } from './lent-clients.ts';
import type { OriginOf } from './server-messages.ts';
import { SessionLink } from './session-link.ts';
import { isForgotten } from './session-loss.ts';

/** A transport, and what has to be known of its kind. */
export interface TransportParts {
  /** Not started yet. */
  readonly transport: Transport;
  /** Whether an error that the transport reports on its own means that the session is gone. */
  readonly isLoss?: ((error: unknown) => boolean) | undefined;
  /** The transport tells of its failures how far the request got. Default: no. */
  readonly isToldAll?: boolean | undefined;
  /** Every request names the session, though the transport has no id of it. Default: no. */
  readonly namesSession?: boolean | undefined;
  /** On which call's response a message came. Default: nobody knows. */
  readonly originOf?: OriginOf | undefined;
  /** More came while nobody leased it than is put up with. Default: the session is lost. */
  readonly onFlood?: (() => void) | undefined;
  /** Sends the cancel of a call in flight in rung 1. Default: the transport's `send`. */
  readonly sendLastWord?: ((message: JSONRPCNotification) => Promise<void>) | undefined;
  /** Rung 1, synchronous: nothing new leaves. */
  readonly fence?: ((reason: Error) => void) | undefined;
  /** Rung 2: tells the server. */
  readonly terminate?: ((signal: AbortSignal) => Promise<void>) | undefined;
  /** Rung 4, synchronous: nothing of the transport is left. */
  readonly sever?: ((reason: Error) => void) | undefined;
}

/** What a session has in place of a client of its own. */
const NO_CLIENT = { close: (): Promise<void> => Promise.resolve() };
/** How long a server may take to end the session of a failed open. */
const ABANDON_MS = 1_000;

/** See the file header. */
export class TransportSession<C = Client> implements Connection<C> {
  readonly #parts: TransportParts;
  readonly #settings: SessionSettings;
  readonly #lent: LentClients<C>;
  readonly #link: SessionLink;
  /** Cancels that rung 1 sends. Rung 2 waits for them. */
  #cancels: readonly Promise<void>[] = [];

  constructor(parts: TransportParts, context: ConnectContext, shared: LentShared<C>) {
    const { settings } = context;
    this.#parts = parts;
    this.#settings = settings;
    this.#lent = new LentClients(context.key, settings, shared);
    const flood = (): void => this.#link.lose(new Error('The server flooded an idle session'));
    const { isLoss, originOf, isToldAll = false, namesSession = false, onFlood = flood } = parts;
    this.#link = new SessionLink(parts.transport, {
      clientInfo: settings.clientInfo,
      clientOptions: this.#lent.clientOptions,
      line: shared.line,
      clock: settings.clock,
      exclusive: settings.exclusive,
      isToldAll,
      namesSession,
      onFlood,
      onTrouble: settings.onTrouble,
      onWorn: () => context.worn?.(),
      onThrottled: (retryAfterMs) => context.throttled?.(retryAfterMs),
      onRequest: context.onRequest,
      onNotification: context.onNotification,
      probeTimeoutMs: settings.probeTimeoutMs,
      // Who asks for an affine session next must not get one that is gone.
      ...(settings.affine && { graceMs: 0 }),
      ...(isLoss && { isLoss }),
      ...(originOf && { originOf }),
    });
  }

  /**
   * Starts the transport and runs the handshake. Rejects when it fails and when `signal` aborts,
   * and then nothing is left of it.
   */
  async open(signal: AbortSignal): Promise<void> {
    try {
      await this.#link.open(signal);
    } catch (error) {
      await this.#abandonOpen(error);
      throw error;
    }
  }

  /**
   * Every lease gets a client of its own, and the session has none. The pool closes this one in a
   * teardown, and does nothing else with it.
   */
  get client(): C & typeof NO_CLIENT {
    return NO_CLIENT as C & typeof NO_CLIENT;
  }

  get transport(): { close(): Promise<void> } {
    return this.#parts.transport;
  }

  get sessionId(): string | undefined {
    return this.#parts.transport.sessionId;
  }

  get lost(): AbortSignal {
    return this.#link.lost;
  }

  /** Nobody leases it, and nothing that it asked is unanswered. */
  get isIdle(): boolean {
    return this.#lent.size === 0 && this.#link.inFlight.length === 0;
  }

  lend(lease: LeaseContext): C {
    return this.#lent.lend(this.#link, lease);
  }

  giveBack(client: C): 'clean' | 'tainted' {
    return this.#lent.giveBack(client);
  }

  replayOf(client: C, cause: unknown): Replay {
    return this.#lent.replayOf(this.#link, client, cause);
  }

  probe(signal: AbortSignal): Promise<void> {
    return this.#link.lane.ping(signal);
  }

  fence(reason: Error): void {
    // The server is told what nobody waits for any more. Best effort.
    if (this.#link.gone() === undefined) {
      // Nobody may be waiting yet when one fails: rung 2 may come late, or never. Whoever made the
      // call is told by the link; a server that is not works in vain, no more.
      this.#cancels = this.#link.inFlight.map(({ id }) => this.#cancelCall(id).catch(() => {}));
    }
    this.#link.fence(reason);
    this.#parts.fence?.(reason);
  }

  async terminate(signal: AbortSignal): Promise<void> {
    await againstSignal(signal, Promise.allSettled(this.#cancels));
    if (!isForgotten(this.#link.gone()?.cause)) await this.#parts.terminate?.(signal);
  }

  sever(reason: Error): void {
    this.#link.sever(reason);
    this.#lent.release();
    // Last: a part may be foreign code, and throw.
    this.#parts.sever?.(reason);
  }

  async #abandonOpen(cause: unknown): Promise<void> {
    const reason = new Error('The session could not be opened', { cause });
    const { closeTimeoutMs, onTrouble } = this.#settings;
    const { fence, terminate, transport } = this.#parts;
    const terminateMs = terminate === undefined ? 0 : Math.min(ABANDON_MS, closeTimeoutMs / 2);
    try {
      fence?.(reason);
      if (terminate) await this.#inTime(terminateMs, (signal) => terminate(signal));
      await this.#inTime(closeTimeoutMs - terminateMs, () => transport.close());
      this.sever(reason);
    } catch (error) {
      // The caller gets the open's own error, which says more.
      onTrouble(error);
    }
  }

  /** Settles when `step` does, in whatever way, and after `timeMs` at the latest. */
  async #inTime(timeMs: number, step: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const { clock, onTrouble } = this.#settings;
    const controller = new AbortController();
    const late = new Error(`Not settled within ${timeMs} ms`);
    // Bound: this timer.
    const timer = clock.setTimeout(() => controller.abort(late), timeMs);
    try {
      await againstSignal(controller.signal, step(controller.signal));
    } catch (error) {
      onTrouble(error);
    } finally {
      clock.clearTimeout(timer);
    }
  }

  async #cancelCall(requestId: number): Promise<void> {
    const params = { requestId, reason: 'The session is closing' };
    const message: JSONRPCNotification = {
      jsonrpc: '2.0',
      method: 'notifications/cancelled',
      params,
    };
    const { sendLastWord, transport } = this.#parts;
    await (sendLastWord === undefined ? transport.send(message) : sendLastWord(message));
  }
}
