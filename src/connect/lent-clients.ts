// The SDK clients that one session has lent: makes each on a transport of its own over the link,
// and knows afterwards what it did. Sits beside the link in every session; knows no transport.

import type { Client, ClientOptions } from '@modelcontextprotocol/sdk/client/index.js';
import { AbortFanout } from '../abort-fanout.ts';
import type { Replay } from '../policy/failure.ts';
import type { LeaseContext, SessionSettings } from './connector.ts';
import { LeaseClient } from './lease-client.ts';
import type { LeaseTransport } from './lease-transport.ts';
import { SchemaValidators, type ValidatorsHold } from './schema-validators.ts';
import type { SessionLink } from './session-link.ts';

/** What the sessions of one connector share for their leases' clients. */
export interface LentShared {
  readonly validators: SchemaValidators;
  /** Follows the signals of calls. */
  readonly aborts: AbortFanout;
}

export function lentShared(): LentShared {
  return { validators: new SchemaValidators(), aborts: new AbortFanout() };
}

/** See the file header. */
export class LentClients {
  /** For the clients of leases, and for the handshake. */
  readonly clientOptions: ClientOptions;
  readonly #settings: SessionSettings;
  readonly #aborts: AbortFanout;
  readonly #validators: ValidatorsHold;
  /** Clients that are lent, and their transports. */
  readonly #lent = new Map<Client, LeaseTransport>();

  constructor(key: string, settings: SessionSettings, shared: LentShared) {
    this.#settings = settings;
    this.#aborts = shared.aborts;
    this.#validators = shared.validators.hold(key);
    this.clientOptions = {
      jsonSchemaValidator: this.#validators.provider,
      ...settings.clientOptions,
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
  lend(link: SessionLink, lease: LeaseContext, onListening?: () => void): Client {
    const transport = link.attach(lease);
    transport.onListening = onListening;
    const client = new LeaseClient({
      transport,
      clientInfo: this.#settings.clientInfo,
      clientOptions: this.clientOptions,
      handshake: link.handshake,
      aborts: this.#aborts,
      onRequest: lease.onRequest,
      onNotification: lease.onNotification,
    });
    this.#lent.set(client, transport);
    return client;
  }

  /** Cancels what `client` has in flight. `'tainted'`: it changed state that the next would see. */
  giveBack(client: Client): 'clean' | 'tainted' {
    const transport = this.#lent.get(client);
    this.#lent.delete(client);
    transport?.end();
    return transport?.tainted ? 'tainted' : 'clean';
  }

  replayOf(link: SessionLink, client: Client, cause: unknown): Replay {
    const isUnheard = client instanceof LeaseClient && !client.mayHaveExecuted;
    return isUnheard ? link.fate.replayOf(cause) : 'never';
  }

  /** The session is over: nothing is kept for clients that may still be held. */
  release(): void {
    this.#lent.clear();
    this.#validators.release();
  }
}
