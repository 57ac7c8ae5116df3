// Opens MCP sessions over Streamable HTTP, on our own transport. Sits at the edge of the pool as a
// `Connector`; `http-session.ts` is what it opens. Knows no pool.

import '../host-fetch-guard.ts';
import type { Connector } from './connector.ts';
import { HttpSession } from './http-session.ts';
import { asHttpTarget, type HttpShared } from './http-shared.ts';

/** Makes a connector for HTTP targets. Opens nothing and holds nothing until it is called. */
export function createHttpConnector<C>(shared: HttpShared<C>): Connector<C> {
  return async (target, context) => {
    context.signal.throwIfAborted();
    const session = new HttpSession(asHttpTarget(target), context, shared);
    await session.open(context.signal);
    return session;
  };
}
