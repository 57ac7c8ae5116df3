// Opens MCP sessions over the older HTTP+SSE protocol (2024-11-05). Sits at the edge of the pool as
// a `Connector`; the transport is `sse-transport.ts`. Knows no pool.

import '../host-fetch-guard.ts';
import type { HttpTarget } from '../target.ts';
import type { ConnectContext, Connector } from './connector.ts';
import { asHttpTarget, type HttpShared } from './http-shared.ts';
import { SseTransport } from './sse-transport.ts';
import { TransportSession } from './transport-session.ts';

/** What an open may be told beside its target. */
export interface SseOpenOptions {
  /** How long the server may take to name its endpoint, in ms. Default: as long as the open. */
  readonly endpointTimeoutMs?: number | undefined;
}

/** Makes a connector for HTTP targets. Opens nothing and holds nothing until it is called. */
export function createSseConnector<C>(shared: HttpShared<C>): Connector<C> {
  return async (target, context) => openSseSession(asHttpTarget(target), context, shared);
}

/** Opens one session, as `Connector` says. */
export async function openSseSession<C>(
  target: HttpTarget,
  context: ConnectContext,
  shared: HttpShared<C>,
  { endpointTimeoutMs }: SseOpenOptions = {},
): Promise<TransportSession<C>> {
  const { signal, settings } = context;
  signal.throwIfAborted();
  const { line } = shared;
  const newSdkTransport = await line.loadSse();
  signal.throwIfAborted();
  const { maxMessageBytes, clock, random } = settings;
  const transport = new SseTransport(target.url, {
    newSdkTransport,
    headers: context.headers,
    authProvider: target.authProvider,
    onCredentialsFailed: (error) => context.credentialsFailed?.(error),
    dispatchers: shared.dispatchers.hold(),
    flows: shared.flows,
    oauth: line.loadOAuth,
    maxMessageBytes,
    endpointTimeoutMs,
    isIdle: () => session.isIdle,
    clock,
    random,
  });
  const session: TransportSession<C> = new TransportSession(
    {
      transport,
      // The session is its stream: the server has another for the next one.
      isLoss: () => true,
      isToldAll: true,
      // The endpoint is the session's own.
      namesSession: true,
      sendLastWord: (message) => transport.sendLastWord(message),
      fence: (reason) => transport.fence(reason),
      sever: (reason) => transport.sever(reason),
    },
    context,
    shared,
  );
  await session.open(signal);
  return session;
}
