// Opens one session after another for one `v2Connector`: each with a line of the SDK of its own,
// for what is known of its server, and with what all of them share. What stdio, SSE and the search
// for it need is loaded with the first session that needs it. Knows no pool.

import '../host-fetch-guard.ts';
import type { Client, VersionNegotiationOptions } from '@modelcontextprotocol/client';
import type { ClientOptions as Sdk1ClientOptions } from '@modelcontextprotocol/sdk/client/index.js';
import type { ConnectContext, Connection, Connector } from '../connect/connector.ts';
import { createHttpConnector } from '../connect/http-connector.ts';
import { type HttpMeans, type HttpShared, httpMeans } from '../connect/http-shared.ts';
import { type LentShared, lentCaches } from '../connect/lent-clients.ts';
import { kindOf, type TargetKind } from '../connect/target-kind.ts';
import type { HttpProtocol } from '../policy/transport-choice.ts';
import type { SessionTarget } from '../target.ts';
import type { V2ConnectorOptions } from './connector.ts';
import { createSdk2, createValidator } from './sdk-2.ts';
import { type ServerHold, ServerMemory } from './server-memory.ts';

/**
 * What a session shares with others, made for it alone: its line holds its server's memory. `sse`:
 * it is over HTTP+SSE, which only servers of the handshake era speak.
 */
type Lend = (protocol?: HttpProtocol) => LentShared<Client>;
type Open = (
  target: SessionTarget,
  context: ConnectContext,
  lend: Lend,
) => Promise<Connection<Client>>;

/** See the file header. */
export class Opener {
  readonly #options: V2ConnectorOptions;
  readonly #memory: ServerMemory;
  readonly #caches = lentCaches(createValidator);
  readonly #opens = new Map<TargetKind, Promise<Open>>();
  #means: HttpMeans | undefined;

  constructor(options: V2ConnectorOptions) {
    this.#options = options;
    this.#memory = new ServerMemory(options.responseCacheStore);
  }

  async open(target: SessionTarget, context: ConnectContext): Promise<Connection<Client>> {
    if ('connect' in target) return (target.connect as Connector<Client>)(target, context);
    context.signal.throwIfAborted();
    const kind = kindOf(target);
    const loaded = this.#opens.get(kind) ?? this.#load(kind);
    this.#opens.set(kind, loaded);
    const open = await loaded;
    if (kind !== 'stdio') return this.#openOnce(open, target, context, kind);
    const { settings } = context;
    const wasLegacy = this.#isKnownLegacy(context);
    try {
      return await this.#openOnce(open, target, context, kind);
    } catch (error) {
      // The question for its era may have ended it: the next process is not asked.
      if (context.signal.aborted || wasLegacy || !this.#isKnownLegacy(context)) throw error;
      settings.onTrouble(error);
      return this.#openOnce(open, target, context, kind);
    }
  }

  async #openOnce(
    open: Open,
    target: SessionTarget,
    context: ConnectContext,
    kind: TargetKind,
  ): Promise<Connection<Client>> {
    context.signal.throwIfAborted();
    const { caller, clock } = context.settings;
    let server: ServerHold | undefined;
    const holds: ServerHold[] = [];
    const lend: Lend = (protocol) => {
      server = this.#memory.hold(caller, clock);
      holds.push(server);
      const clientOptions = this.#options.clientOptions as Sdk1ClientOptions | undefined;
      const isStdio = kind === 'stdio';
      const negotiation = this.#negotiation(isStdio ? 'stdio' : protocol, context);
      return { ...this.#caches, line: createSdk2(server, { isStdio, negotiation, clientOptions }) };
    };
    const worn = (): void => {
      server?.forget();
      context.worn?.();
    };
    const connection = await open(target, { ...context, worn }, lend).catch((error: unknown) => {
      // A session lets go of its own, but the open may fail before there is one.
      for (const hold of holds) hold.release();
      throw error;
    });
    // A server that can't be reached may come back as another. A process is asked anyway.
    if (kind !== 'stdio') {
      connection.lost?.addEventListener('abort', () => server?.forget(), { once: true });
    }
    return connection;
  }

  #negotiation(
    over: HttpProtocol | 'stdio' | undefined,
    { settings }: ConnectContext,
  ): VersionNegotiationOptions {
    const { versionNegotiation = { mode: 'auto' } } = this.#options;
    if (over === 'sse' && versionNegotiation.mode === 'auto') return { mode: 'legacy' };
    if (over !== 'stdio') return versionNegotiation;
    // The rest of the time is for `initialize`.
    const timeoutMs = settings.connectTimeoutMs / 2;
    return { ...versionNegotiation, probe: { timeoutMs, ...versionNegotiation.probe } };
  }

  #isKnownLegacy({ settings: { caller, clock } }: ConnectContext): boolean {
    return this.#memory.isLegacy(caller, clock);
  }

  async #load(kind: TargetKind): Promise<Open> {
    switch (kind) {
      case 'streamable-http':
        return (target, context, lend) =>
          createHttpConnector(this.#overHttp(context, lend()))(target, context);
      case 'sse': {
        const { createSseConnector } = await import('../connect/sse-connector.ts');
        return (target, context, lend) =>
          createSseConnector(this.#overHttp(context, lend('sse')))(target, context);
      }
      case 'auto': {
        const { AutoOpener } = await import('../connect/auto-connector.ts');
        const opener = new AutoOpener<Client>();
        return (target, context, lend) =>
          opener.open(target, context, (protocol) => this.#overHttp(context, lend(protocol)));
      }
      case 'stdio': {
        const { createStdioConnector, stdioShared } = await import('../connect/stdio-connector.ts');
        const shared = stdioShared();
        return (target, context, lend) => createStdioConnector(lend(), shared)(target, context);
      }
      default:
        return kind satisfies never;
    }
  }

  #overHttp({ settings }: ConnectContext, lent: LentShared<Client>): HttpShared<Client> {
    this.#means ??= httpMeans(settings);
    return { ...lent, ...this.#means };
  }
}
