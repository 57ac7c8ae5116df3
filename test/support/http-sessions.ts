// Opens real HTTP sessions for tests through the connector, and ends what a test left open.

import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import type {
  ConnectContext,
  Connection,
  LeaseContext,
  SessionSettings,
} from '../../src/connect/connector.ts';
import {
  createHttpConnector,
  type HttpConnectorOptions,
} from '../../src/connect/http-connector.ts';
import { LeaseReleasedError } from '../../src/errors.ts';
import type { HeaderRecord, HttpTarget } from '../../src/target.ts';
import { testSettings } from './session-settings.ts';

/** A session as the port describes it, with everything that HTTP has. */
export type OpenSession = Required<Omit<Connection, 'sessionId'>> & Pick<Connection, 'sessionId'>;

/** A lease, with the controls that the pool would have. */
export interface TestLease {
  readonly client: Client;
  /** Ends the lease as the pool does: first its word, then `giveBack`. */
  release(): 'clean' | 'tainted';
  readonly isEnded: boolean;
}

/** Opens sessions and keeps track of them. */
export class HttpSessions {
  readonly #connect: ReturnType<typeof createHttpConnector>;
  readonly #settings: Partial<SessionSettings>;
  readonly #open = new Set<OpenSession>();

  constructor(options: HttpConnectorOptions & Partial<SessionSettings> = {}) {
    const { dispatcher, onStreamSlowed, ...settings } = options;
    this.#settings = settings;
    this.#connect = createHttpConnector({ dispatcher, onStreamSlowed });
  }

  async open(
    target: HttpTarget | URL,
    context: Partial<ConnectContext> = {},
  ): Promise<OpenSession> {
    const full = target instanceof URL ? { url: target } : target;
    const session = (await this.#connect(full, {
      signal: new AbortController().signal,
      key: 'key-1',
      settings: testSettings(full, this.#settings),
      headers: () => (typeof full.headers === 'object' ? full.headers : {}),
      ...context,
    })) as OpenSession;
    this.#open.add(session);
    return session;
  }

  /** All four rungs, as the pool climbs them. */
  async close(session: OpenSession, reason: Error = new Error('test over')): Promise<void> {
    this.#open.delete(session);
    session.fence(reason);
    await session.terminate(AbortSignal.timeout(1_000)).catch(() => {});
    await session.client.close();
    await session.transport.close();
    session.sever(reason);
  }

  /** Leaves the end of `session` to the test. */
  forget(session: OpenSession): void {
    this.#open.delete(session);
  }

  /** Cuts every session that is still open. */
  cutAll(): void {
    for (const session of this.#open) {
      session.fence(new Error('test over'));
      void session.client.close();
      void session.transport.close();
      session.sever(new Error('test over'));
    }
    this.#open.clear();
  }
}

/** Lends a client of `session`, as the pool does. */
export function lend(
  session: Pick<OpenSession, 'lend' | 'giveBack'>,
  options: Partial<Omit<LeaseContext, 'headers'>> & { headers?: HeaderRecord } = {},
): TestLease {
  let ended: Error | undefined;
  const release = (): 'clean' | 'tainted' => {
    ended ??= new LeaseReleasedError('key-1', 'released');
    return session.giveBack(client);
  };
  const client = session.lend({
    end: () => void release(),
    endedWith: () => ended,
    ...options,
    headers: () => options.headers ?? {},
  });
  return {
    client,
    release,
    get isEnded() {
      return ended !== undefined;
    },
  };
}

/** The text of a tool's result. */
export function textOf(result: unknown): string {
  return (result as { content: { text: string }[] }).content[0]?.text ?? '';
}
