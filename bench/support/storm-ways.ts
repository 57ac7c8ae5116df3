// The ways in which the calls of the storm's users reach the server: through one pool, and as
// gateways do that keep no pool, on the SDK's client and transport. Each loads what it needs, and
// no more.

import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { CloseReport, Lease, PoolEvent, SessionPool } from 'mcp-session-pool';
import type { ToolCall, Turn, User } from './storm-users.ts';

export const STORM_WAYS = [
  'mcp-session-pool',
  'SDK, session per user',
  'SDK, session per call',
] as const;
export type StormWay = (typeof STORM_WAYS)[number];

export interface StormLimits {
  readonly keys: number;
  readonly acquireTimeoutMs: number;
  readonly callTimeoutMs: number;
  readonly closeTimeoutMs: number;
}

/** What only a pool can be asked. */
export interface PoolBooks {
  /** Waits begun by the users, and those that settled. */
  readonly acquires: { begun: number; settled: number };
  /** By what the pool said of them. */
  readonly granted: number;
  readonly rejected: number;
  readonly ended: number;
  /** Most at once, at any event of a session and at any sample. */
  readonly mostSessions: number;
  readonly mostOfOneKey: number;
  readonly mostWaiting: number;
  readonly left: { readonly sessions: number; readonly waiting: number };
  readonly totals: Readonly<Record<string, number>>;
}

export interface Gateway {
  readonly turn: Turn;
  readonly leave: (user: User) => Promise<void>;
  /** Looks at what must hold at all times. */
  readonly look: () => void;
  readonly close: () => Promise<CloseReport | undefined>;
  readonly books: () => PoolBooks | undefined;
}

export const SESSIONS_PER_KEY = 10;
const LEASES_PER_SHARED_SESSION = 8;
const clientInfo = { name: 'storm', version: '1.0.0' };
const capabilities = { elicitation: {} };

/** Fewer than all keys may have, so that they compete. */
export const sessionsInAll = (keys: number): number =>
  Math.max(SESSIONS_PER_KEY, Math.floor(keys * SESSIONS_PER_KEY * 0.8));

export const gateways: Readonly<
  Record<StormWay, (url: string, limits: StormLimits) => Promise<Gateway>>
> = {
  'mcp-session-pool': throughPool,
  'SDK, session per user': perUser,
  'SDK, session per call': perCall,
};

async function throughPool(url: string, limits: StormLimits): Promise<Gateway> {
  const { SessionPool } = await import('mcp-session-pool');
  const { keys, acquireTimeoutMs, callTimeoutMs, closeTimeoutMs } = limits;
  const watch = new PoolWatch();
  const pool = new SessionPool({
    clientInfo,
    capabilities,
    maxSessionsPerKey: SESSIONS_PER_KEY,
    maxSessions: sessionsInAll(keys),
    acquireTimeoutMs,
    closeTimeoutMs,
    // Its server is gone for seconds: users shall be served soon after it is back.
    breaker: { resetAfterMs: 1_000 },
    onEvent: (event) => watch.hear(event, pool),
  });
  return {
    turn: (user, call) => poolTurn(pool, { url, watch, timeout: callTimeoutMs }, user, call),
    leave: async () => {},
    look: () => watch.look(pool),
    close: () => pool.close(),
    books: () => watch.books(pool),
  };
}

/** Half of the users lease by hand, half with `use`; every other identity shares its sessions. */
async function poolTurn(
  pool: SessionPool,
  { url, watch, timeout }: { url: string; watch: PoolWatch; timeout: number },
  user: User,
  call: ToolCall,
): Promise<string> {
  const { identity, signal, number } = user;
  const isShared = Number(identity.split('-')[1]) % 2 === 1;
  const target = {
    url,
    identity,
    headers: { 'x-user': identity },
    ...(isShared && { leasesPerSession: LEASES_PER_SHARED_SESSION }),
  };
  const { token } = call.arguments;
  const onRequest = () => ({ action: 'accept', content: { token } });
  const { acquires } = watch;
  acquires.begun += 1;
  if (number % 2 === 0) {
    const work = (client: Client) => callTool(client, call, { timeout });
    return pool.use(target, work, { signal, onRequest }).finally(() => {
      acquires.settled += 1;
    });
  }
  let lease: Lease;
  try {
    lease = await pool.acquire(target, { signal, onRequest });
  } finally {
    acquires.settled += 1;
  }
  try {
    return await callTool(lease.client, call, { timeout, signal });
  } finally {
    lease.release();
  }
}

/** Listens to the pool, and counts for itself. */
class PoolWatch {
  readonly acquires = { begun: 0, settled: 0 };
  #granted = 0;
  #rejected = 0;
  #ended = 0;
  #mostSessions = 0;
  #mostOfOneKey = 0;
  #mostWaiting = 0;

  hear(event: PoolEvent, pool: SessionPool): void {
    if (event.type === 'lease-granted') this.#granted += 1;
    else if (event.type === 'lease-ended') this.#ended += 1;
    else if (event.type === 'acquire-rejected') this.#rejected += 1;
    else if (event.type.startsWith('session-')) this.look(pool);
  }

  look(pool: SessionPool): void {
    const { sessions, waiting, perKey = [] } = pool.stats({ perKey: true });
    this.#mostSessions = Math.max(this.#mostSessions, sum(sessions));
    for (const each of perKey) {
      this.#mostOfOneKey = Math.max(this.#mostOfOneKey, sum(each.sessions));
    }
    this.#mostWaiting = Math.max(this.#mostWaiting, waiting);
  }

  books(pool: SessionPool): PoolBooks {
    const { sessions, waiting, totals } = pool.stats();
    return {
      acquires: this.acquires,
      granted: this.#granted,
      rejected: this.#rejected,
      ended: this.#ended,
      mostSessions: this.#mostSessions,
      mostOfOneKey: this.#mostOfOneKey,
      mostWaiting: this.#mostWaiting,
      left: { sessions: sum(sessions), waiting },
      totals: { ...totals },
    };
  }
}

const sum = (counts: object): number =>
  Object.values(counts as Record<string, number>).reduce((all, count) => all + count, 0);

/** A session for each user and identity, opened with its first call, closed when the user leaves. */
async function perUser(url: string, limits: StormLimits): Promise<Gateway> {
  const open = await sdkOpener(url);
  const sessions = new Map<string, SdkSession>();
  const nameOf = ({ number, identity }: User) => `${number} ${identity}`;
  const turn: Turn = async (user, call) => {
    const name = nameOf(user);
    const session = sessions.get(name) ?? (await open(user));
    sessions.set(name, session);
    try {
      session.token = call.arguments.token;
      return await callTool(session.client, call, {
        timeout: limits.callTimeoutMs,
        signal: user.signal,
      });
    } catch (error) {
      // What failed is opened anew the next time.
      sessions.delete(name);
      await session.close();
      throw error;
    }
  };
  const leave = async (user: User): Promise<void> => {
    for (const [name, session] of [...sessions]) {
      if (!name.startsWith(`${user.number} `)) continue;
      sessions.delete(name);
      await session.close();
    }
  };
  return { turn, leave, ...nothingToAsk };
}

/** Connect, call, say goodbye. */
async function perCall(url: string, limits: StormLimits): Promise<Gateway> {
  const open = await sdkOpener(url);
  const turn: Turn = async (user, call) => {
    const session = await open(user);
    try {
      session.token = call.arguments.token;
      return await callTool(session.client, call, {
        timeout: limits.callTimeoutMs,
        signal: user.signal,
      });
    } finally {
      await session.close();
    }
  };
  return { turn, leave: async () => {}, ...nothingToAsk };
}

const nothingToAsk = {
  look: () => {},
  close: async () => undefined,
  books: () => undefined,
};

interface SdkSession {
  readonly client: Client;
  /** What it answers when the server asks. */
  token: string;
  /** Says goodbye, as it should. Never rejects. */
  close(): Promise<void>;
}

async function sdkOpener(url: string): Promise<(user: User) => Promise<SdkSession>> {
  const sdk = await import('@modelcontextprotocol/sdk/client/index.js');
  const http = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
  const { ElicitRequestSchema } = await import('@modelcontextprotocol/sdk/types.js');
  return async ({ identity, signal }) => {
    const client = new sdk.Client(clientInfo, { capabilities });
    client.onerror = () => {};
    const requestInit = { headers: { 'x-user': identity } };
    const transport = new http.StreamableHTTPClientTransport(new URL(url), { requestInit });
    const session: SdkSession = {
      client,
      token: '',
      close: async () => {
        await transport.terminateSession().catch(() => {});
        await client.close().catch(() => {});
      },
    };
    client.setRequestHandler(ElicitRequestSchema, () => ({
      action: 'accept',
      content: { token: session.token },
    }));
    try {
      // The SDK's own types disagree here under `exactOptionalPropertyTypes`.
      await client.connect(transport as Transport, { signal });
    } catch (error) {
      await session.close();
      throw error;
    }
    return session;
  };
}

async function callTool(
  client: Pick<Client, 'callTool'>,
  call: ToolCall,
  options: { readonly timeout: number; readonly signal?: AbortSignal },
): Promise<string> {
  const result = await client.callTool(call, undefined, { onprogress: () => {}, ...options });
  const [first] = result.content as readonly { readonly text?: string }[];
  return first?.text ?? '';
}
