// Opens MCP sessions over whichever of the two HTTP protocols the server speaks: first the one it
// was found to speak before, else Streamable HTTP; then, if that was refused as a server of the
// other one would, the other. So a server that changes is found again, and an open costs one
// request more than it must, at most. Sits at the edge of the pool as a `Connector`.

import '../host-fetch-guard.ts';
import { againstSignal } from '../against-signal.ts';
import { ownError } from '../http/http-request-error.ts';
import { type HttpProtocol, isOfOtherProtocol } from '../policy/transport-choice.ts';
import type { HttpTarget, SessionTarget } from '../target.ts';
import type { ConnectContext, Connection, Connector } from './connector.ts';
import { HttpSession } from './http-session.ts';
import { asHttpTarget, type HttpShared } from './http-shared.ts';
import { ProtocolMemory } from './protocol-memory.ts';
import { openSseSession } from './sse-connector.ts';

/**
 * How long an open waits for another one of its origin to find out. Short, for that may be held up
 * by what is its own affair, such as its caller's tokens.
 */
const FINDING_MS = 1_000;

/** What an event stream ends with that is none of HTTP+SSE. */
const NO_SUCH_STREAM = new Set<unknown>(['UNEXPECTED_CONTENT', 'RESPONSE_CUT', 'TIMEOUT']);

/** Makes a connector for HTTP targets. Opens nothing and holds nothing until it is called. */
export function createAutoConnector<C>(shared: HttpShared<C>): Connector<C> {
  const opener = new AutoOpener<C>();
  return (target, context) => opener.open(target, context, () => shared);
}

/** What the session of one attempt shares with others, in this protocol. Asked for each attempt. */
export type SharedFor<C> = (protocol: HttpProtocol) => HttpShared<C>;

/** What became of one attempt. */
type Attempt<C> =
  | { readonly connection: Connection<C> }
  /** `isOther`: as a server of the other protocol would have failed it. */
  | { readonly error: unknown; readonly isOther: boolean };

interface Opening<C> {
  readonly target: HttpTarget;
  readonly url: URL;
  readonly context: ConnectContext;
  readonly sharedFor: SharedFor<C>;
}

/** Opens session after session, and remembers what servers speak. */
export class AutoOpener<C> {
  readonly #memory = new ProtocolMemory();
  /** By origin: settles when the first open there knows more, or has failed. Never rejects. */
  readonly #finding = new Map<string, Promise<void>>();

  /** Opens one session, as `Connector` says. */
  async open(
    given: SessionTarget,
    context: ConnectContext,
    sharedFor: SharedFor<C>,
  ): Promise<Connection<C>> {
    context.signal.throwIfAborted();
    const target = asHttpTarget(given);
    const url = new URL(target.url);
    const { origin } = url;
    const opening = { target, url, context, sharedFor };
    if (this.#memory.knows(url)) return this.#openAny(opening);
    const finding = this.#finding.get(origin);
    if (finding !== undefined) {
      await untilKnown(finding, context);
      return this.#openAny(opening);
    }
    let onKnown: () => void = () => {};
    const known = new Promise<void>((resolve) => {
      onKnown = resolve;
    });
    this.#finding.set(origin, known);
    const done = (): void => {
      // By the second time, another open may be finding out.
      if (this.#finding.get(origin) === known) this.#finding.delete(origin);
      onKnown();
    };
    try {
      return await this.#openAny(opening, done);
    } finally {
      done();
    }
  }

  /** `onKnown`: there is something to guess by now. */
  async #openAny(opening: Opening<C>, onKnown?: () => void): Promise<Connection<C>> {
    const { url, context } = opening;
    const first = this.#memory.guess(url) ?? 'streamable-http';
    const second = first === 'sse' ? 'streamable-http' : 'sse';
    const one = await this.#attempt(first, opening);
    if ('connection' in one) {
      this.#memory.learn(url, first);
      return one.connection;
    }
    if (!one.isOther || context.signal.aborted) throw one.error;
    // A guess, until the second attempt has gone well or not: good enough for who comes meanwhile.
    this.#memory.suppose(url, second);
    onKnown?.();
    const two = await this.#attempt(second, opening);
    if ('connection' in two) {
      this.#memory.learn(url, second);
      return two.connection;
    }
    this.#memory.dismiss(url);
    context.signal.throwIfAborted();
    throw first === 'sse' ? neither(two, one) : neither(one, two);
  }

  async #attempt(
    protocol: HttpProtocol,
    { target, context, sharedFor }: Opening<C>,
  ): Promise<Attempt<C>> {
    const shared = sharedFor(protocol);
    if (protocol === 'sse') {
      // The rest of the time is for the other protocol, and for `initialize`.
      const endpointTimeoutMs = context.settings.connectTimeoutMs / 2;
      try {
        const options = { endpointTimeoutMs };
        return { connection: await openSseSession(target, context, shared, options) };
      } catch (error) {
        return { error, isOther: isRefusal(error) || NO_SUCH_STREAM.has(ownError(error).code) };
      }
    }
    const session = new HttpSession(target, context, shared);
    try {
      await session.open(context.signal);
      return { connection: session };
    } catch (error) {
      return { error, isOther: !session.isSpoken && isRefusal(error) };
    }
  }
}

function isRefusal(error: unknown): boolean {
  const { status } = ownError(error);
  return status !== undefined && isOfOtherProtocol(status);
}

/** Waits until `finding` settles, for a while. Rejects when the open is no longer wanted. */
async function untilKnown(finding: Promise<void>, context: ConnectContext): Promise<void> {
  const { clock } = context.settings;
  let onTime: () => void = () => {};
  const time = new Promise<void>((resolve) => {
    onTime = resolve;
  });
  // Bound: this timer.
  const timer = clock.setTimeout(() => onTime(), FINDING_MS);
  try {
    await againstSignal(context.signal, Promise.race([finding, time]));
  } finally {
    clock.clearTimeout(timer);
  }
}

type FailedAttempt = Extract<Attempt<never>, { readonly error: unknown }>;

/** The cause is the failure that says more than "not this protocol"; else Streamable HTTP's. */
function neither(streamable: FailedAttempt, sse: FailedAttempt): AggregateError {
  const { error: cause } = streamable.isOther && !sse.isOther ? sse : streamable;
  const message = 'The server could be opened neither over Streamable HTTP nor over HTTP+SSE';
  return new AggregateError([streamable.error, sse.error], message, { cause });
}
