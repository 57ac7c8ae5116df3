// The SDK clients that one session has lent: makes each on a transport of its own over the link,
// and knows afterwards what it did. Sits beside the link in every session; knows no transport.

import type { Client, ClientOptions } from '@modelcontextprotocol/sdk/client/index.js';
import type { jsonSchemaValidator } from '@modelcontextprotocol/sdk/validation';
import { AbortFanout } from '../abort-fanout.ts';
import type { Replay } from '../policy/failure.ts';
import type { LeaseContext, SessionSettings } from './connector.ts';
import type { LeaseTransport } from './lease-transport.ts';
import { SchemaValidators, type ValidatorsHold } from './schema-validators.ts';
import type { LentClient, SdkLine } from './sdk-line.ts';
import type { SessionLink } from './session-link.ts';

/** What the sessions of one connector share for their leases' clients. */
export interface LentCaches {
  readonly validators: SchemaValidators;
  /** Follows the signals of calls. */
  readonly aborts: AbortFanout;
}

/** The same, and the line of the SDK whose clients they lend. */
export interface LentShared<C = Client> extends LentCaches {
  readonly line: SdkLine<C>;
}

/** `newCompiler` makes what compiles schemas of tool results. */
export function lentCaches(newCompiler: () => jsonSchemaValidator): LentCaches {
  return { validators: new SchemaValidators(newCompiler), aborts: new AbortFanout() };
}

/** See the file header. */
export class LentClients<C = Client> {
  /** For the clients of leases, and for the handshake. */
  readonly clientOptions: ClientOptions;
  readonly #settings: SessionSettings;
  readonly #line: SdkLine<C>;
  readonly #aborts: AbortFanout;
  readonly #validators: ValidatorsHold;
  /** Clients that are lent, and their transports. */
  readonly #lent = new Map<C, LeaseTransport>();

  constructor(key: string, settings: SessionSettings, shared: LentShared<C>) {
    this.#settings = settings;
    this.#line = shared.line;
    this.#aborts = shared.aborts;
    this.#validators = shared.validators.hold(key);
    this.clientOptions = {
      jsonSchemaValidator: this.#validators.provider,
      ...settings.clientOptions,
      ...shared.line.clientOptions,
      capabilities: settings.capabilities,
    };
  }

  /** How many are lent. */
  get size(): number {
    return this.#lent.size;
  }

  /**
   * A fresh client for `lease`, usable at once. Its borrower listens to what the server sends by
   * itself as soon as there is a handler: `onListening` is called for each.
   */
  lend(link: SessionLink, lease: LeaseContext, onListening?: () => void): C {
    const transport = link.attach(lease);
    transport.onListening = onListening;
    const client = this.#line.createClient({
      transport,
      clientInfo: this.#settings.clientInfo,
      clientOptions: this.clientOptions,
      handshake: link.handshake,
      isSessionless: link.isSessionless,
      version: link.version,
      aborts: this.#aborts,
      onRequest: lease.onRequest,
      onNotification: lease.onNotification,
    });
    this.#lent.set(client, transport);
    if (lease.onRequest ?? lease.onNotification) onListening?.();
    return client;
  }

  /** Cancels what `client` has in flight. `'tainted'`: it changed state that the next would see. */
  giveBack(client: C): 'clean' | 'tainted' {
    const transport = this.#lent.get(client);
    this.#lent.delete(client);
    transport?.end();
    return transport?.tainted ? 'tainted' : 'clean';
  }

  replayOf(link: SessionLink, client: C, cause: unknown): Replay {
    const { mayHaveExecuted } = client as C & Partial<LentClient>;
    const isUnheard = mayHaveExecuted === false;
    return isUnheard ? link.fate.replayOf(cause) : 'never';
  }

  /** The session is over: nothing is kept for clients that may still be held. */
  release(): void {
    this.#lent.clear();
    this.#validators.release();
    this.#line.release?.();
  }
}
