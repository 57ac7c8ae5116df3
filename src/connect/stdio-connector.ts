// Opens MCP sessions with servers that run as processes of our own. Sits at the edge of the pool as
// a `Connector`; `stdio/` knows how to start, talk to and end them.

import { DeadlineError } from '../open-session.ts';
import { LiveGroups } from '../stdio/live-groups.ts';
import { StdioError } from '../stdio/stdio-error.ts';
import { StdioTransport } from '../stdio/stdio-transport.ts';
import type { SessionTarget, StdioTarget } from '../target.ts';
import type { Connector } from './connector.ts';
import { GivenUpOpens } from './given-up-opens.ts';
import type { LentShared } from './lent-clients.ts';
import { TransportSession } from './transport-session.ts';

/** What the sessions of one pool have in common. */
export interface StdioShared {
  readonly liveGroups: LiveGroups;
  readonly givenUp: GivenUpOpens;
}

export function stdioShared(): StdioShared {
  return { liveGroups: new LiveGroups(), givenUp: new GivenUpOpens() };
}

/**
 * Makes a connector for targets with a `command`, whose sessions lend what `lent` makes. Starts
 * nothing until it is called.
 */
export function createStdioConnector<C>(
  lent: LentShared<C>,
  { liveGroups, givenUp }: StdioShared = stdioShared(),
): Connector<C> {
  return async (target, context) => {
    if (!isStdioTarget(target)) throw new TypeError('Expected a target with a `command`');
    context.signal.throwIfAborted();
    // A process that hangs is still being ended when its open has failed, and counts no more.
    await givenUp.ended(context.key, context.signal);
    const { clock, maxMessageBytes, closeTimeoutMs, onServerLog } = context.settings;
    const transport = new StdioTransport(target, {
      clock,
      maxMessageBytes,
      closeTimeoutMs,
      liveGroups,
      onStderrLine: onServerLog,
    });
    const session = new TransportSession(
      {
        transport,
        isLoss: (error) => error instanceof StdioError && error.sessionLost,
        isToldAll: true,
        sendLastWord: (message) => transport.sendLastWord(message),
        fence: (reason) => transport.fence(reason),
        sever: (reason) => transport.sever(reason),
      },
      context,
      lent,
    );
    const { signal } = context;
    const onAbort = (): void => explain(signal.reason, transport);
    signal.addEventListener('abort', onAbort, { once: true });
    const opening = session.open(signal);
    givenUp.watch(context.key, opening, signal);
    try {
      await opening;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
    return session;
  };
}

/** A server that hangs as it starts may have said why, and its caller hears of the time alone. */
function explain(reason: unknown, transport: StdioTransport): void {
  if (reason instanceof DeadlineError) reason.cause ??= transport.said;
}

const isStdioTarget = (target: SessionTarget): target is StdioTarget => 'command' in target;
