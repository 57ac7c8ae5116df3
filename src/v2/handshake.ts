// Finds out with a client of SDK 2 which era a server is of, and shakes hands in it: `initialize`
// and `notifications/initialized`, or `server/discover`, or nothing at all, where other sessions of
// the same caller know the answer already. The client is gone afterwards.

import {
  Client,
  type ClientOptions,
  type PriorDiscovery,
  SdkErrorCode,
  SdkHttpError,
  type Transport,
  type VersionNegotiationOptions,
} from '@modelcontextprotocol/client';
import { MAX_TIMER_MS } from '../clock.ts';
import { statusOf } from '../connect/failure-of.ts';
import { frozenCopy } from '../connect/frozen-copy.ts';
import { handshakeLane } from '../connect/handshake-lane.ts';
import type { Link } from '../connect/lane.ts';
import type { LeaseTransport } from '../connect/lease-transport.ts';
import type { Handshake, HandshakeParty, Question, ShakeHands } from '../connect/sdk-line.ts';
import type { ServerHold } from './server-memory.ts';
import { overStdio } from './stdio-lane.ts';

const DISCOVER = 'server/discover';
/** Unauthorized, forbidden, timed out, too many requests. */
const WHATEVER_WAS_ASKED: ReadonlySet<number> = new Set([401, 403, 408, 429]);
const PREFIX = 'io.modelcontextprotocol/';

/** How the era is found out. */
export interface Negotiation {
  readonly negotiation: VersionNegotiationOptions;
  /** The server is a process of the session's own. */
  readonly isStdio: boolean;
}

/** A handshake that looks up, and notes, what `server` is known to be. */
export function shakeHandsWith(server: ServerHold, how: Negotiation): ShakeHands {
  return async (link, party) => {
    const prior = how.isStdio ? priorOfProcess(server) : server.prior;
    if (prior === undefined) return attempt(link, party, { server, ...how });
    try {
      return await attempt(link, party, { server, ...how, prior });
    } catch (error) {
      // What was known is out of date, unless it is not that which failed.
      server.forget();
      if (link.gone() !== undefined || isOfAnyEra(error)) throw error;
      return attempt(link, party, { server, ...how });
    }
  };
}

/** A new process says itself who it is. To one of the handshake era a question may be the end. */
function priorOfProcess({ prior }: ServerHold): PriorDiscovery | undefined {
  return prior?.kind === 'legacy' ? prior : undefined;
}

interface Era extends Negotiation {
  readonly server: ServerHold;
  readonly prior?: PriorDiscovery;
}

async function attempt(
  link: Link,
  party: HandshakeParty,
  { server, negotiation, isStdio, prior }: Era,
): Promise<Handshake> {
  const { listChanged: _, ...options } = party.clientOptions;
  const lane = handshakeLane(link, party);
  if (isStdio) overStdio(lane.transport);
  const told = translateFailures(lane.transport);
  const client = new Client(party.clientInfo, {
    ...(options as ClientOptions),
    versionNegotiation: negotiation,
  });
  try {
    // The SDK's own timers are put out of reach: whoever opens has one.
    await client.connect(lane.transport as unknown as Transport, {
      timeout: MAX_TIMER_MS,
      ...(prior && { prior }),
    });
  } catch (error) {
    const isAuto = negotiation.mode === 'auto' && told.asked === DISCOVER;
    // Such servers end when they are asked before `initialize`. The next process is not asked.
    if (isStdio && isAuto && hasEnded(link)) server.learned({ kind: 'legacy' });
    // Ours says more: how far it got, and what the server asked for.
    throw told.failure ?? error;
  } finally {
    lane.transport.end();
  }
  const discover = client.getDiscoverResult();
  if (client.getProtocolEra() !== 'modern' || discover === undefined) {
    server.learned({ kind: 'legacy' });
    return { result: lane.lastResult(), isSessionless: false };
  }
  server.learned({ kind: 'modern', discover });
  const version = client.getNegotiatedProtocolVersion();
  return {
    result: frozenCopy(discover),
    isSessionless: true,
    ...(version !== undefined && { version }),
    question: questionOf(version, party),
  };
}

/** A server without sessions knows no ping; what it answers to this, nobody looks at. */
function questionOf(version: string | undefined, party: HandshakeParty): Question {
  const _meta = {
    [`${PREFIX}protocolVersion`]: version,
    [`${PREFIX}clientInfo`]: party.clientInfo,
    [`${PREFIX}clientCapabilities`]: party.clientOptions.capabilities ?? {},
  };
  return { method: DISCOVER, params: { _meta } };
}

/** The server's process has ended by itself. */
const hasEnded = (link: Link): boolean =>
  (link.gone()?.cause as { sessionLost?: unknown } | undefined)?.sessionLost === true;

interface Told {
  /** The last failure, as it was. */
  failure: unknown;
  /** The last method that was sent. */
  asked: string | undefined;
}

/**
 * Tells the SDK of a refusal in its own words, for what the server refuses decides which era it is
 * taken to be of.
 */
function translateFailures(lane: LeaseTransport): Readonly<Told> {
  const told: Told = { failure: undefined, asked: undefined };
  const send = lane.send.bind(lane);
  lane.send = (message, options) => {
    if ('method' in message) told.asked = message.method;
    return send(message, options).then(
      () => {
        told.failure = undefined;
      },
      (error: unknown) => {
        told.failure = error;
        throw asSdkError(error);
      },
    );
  };
  return told;
}

function asSdkError(error: unknown): unknown {
  const status = statusOf(error);
  if (status === undefined) return error;
  const { body: text } = error as { readonly body?: string };
  const code = SdkErrorCode.ClientHttpNotImplemented;
  return new SdkHttpError(code, `The server answered with HTTP ${status}`, { status, text });
}

/**
 * Whether a server of either era would have failed so: it could not be asked, is not well, wants
 * credentials or to be left alone. Another question would do it no good.
 */
function isOfAnyEra(error: unknown): boolean {
  const status = statusOf(error);
  if (status === undefined) return typeof Object(error).execution === 'string';
  return status >= 500 || WHATEVER_WAS_ASKED.has(status);
}
