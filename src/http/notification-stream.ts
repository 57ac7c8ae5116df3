// The notification stream (GET) of one session: opened when somebody listens, opened again when the
// server ends it, never sooner than the governor allows, and closed when it floods a session that
// nobody uses. Knows events, not who they are for.

import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import type { Timer } from '../clock.ts';
import { type Budget, createBudget } from '../policy/budget.ts';
import {
  afterFailure,
  afterStart,
  afterStream,
  clampRetryMs,
  freshGovernor,
  type ReconnectGovernor,
  reconnectWaitMs,
} from '../policy/reconnect-governor.ts';
import { refusesEvent } from '../policy/resume-schedule.ts';
import type { AnswerHead, AnswerReader } from './answer-reader.ts';
import { HttpRequest, mediaTypeOf } from './http-request.ts';
import { ownError } from './http-request-error.ts';
import { parseMessages } from './json-rpc.ts';
import { noResponse } from './request-failure.ts';
import { eventIdHeader } from './request-headers.ts';
import { SseDecoder, type SseReader, type StreamEvent } from './sse-decoder.ts';
import type { Wire } from './wire.ts';

/** What a stream needs of its session. */
export interface NotificationStreamHost {
  readonly wire: Wire;
  readonly maxMessageBytes: number;
  readonly random: () => number;
  receive(message: JSONRPCMessage): void;
  /** Trouble that ends nothing. */
  report(error: unknown): void;
  /** The server says that the session is gone, or is not there any more. */
  lost(error: unknown): void;
  /** Nobody uses the session: what comes counts against a budget. */
  isIdle(): boolean;
  slowed(waitMs: number): void;
  mayNotLeave(): Error | undefined;
}

/** How one GET is to be sent, and who wants to know how it went. */
interface Opening {
  /** As the header has it, here and below. */
  readonly lastEventId: string | undefined;
  readonly onResumptionToken: ((token: string) => void) | undefined;
  readonly settle: ((error?: unknown) => void) | undefined;
}

/** How long a stream that flooded an idle session stays closed: doubling up to the ceiling. */
const FLOOD_PAUSE_MS = 60_000;
const FLOOD_PAUSE_CEILING_MS = 300_000;
/** What a server may send per minute while nobody uses the session; every chunk counts as 1 KiB. */
const IDLE_BUDGET = { kibibytes: 1_000, periodMs: 60_000 } as const;

/** Flaps in a row up to which the wait grows. Beyond them there is nothing new to tell. */
const SLOWED_TOLD_MAX = 9;

/**
 * `off`: nobody listens yet. `waiting`: a timer will open it. `open`: a GET is open or on its way.
 * `over`: the server offers none, or the session is closing.
 */
type State = 'off' | 'waiting' | 'open' | 'over';

/** See the file header. */
export class NotificationStream implements AnswerReader, SseReader {
  readonly #host: NotificationStreamHost;
  #state: State = 'off';
  /** Whether the server ever gave a stream. */
  #wasOpen = false;
  #governor: ReconnectGovernor = freshGovernor;
  #timer: Timer | undefined;
  #request: HttpRequest | undefined;
  /** Of the GET under way. */
  #opening: Opening | undefined;
  #decoder: SseDecoder | undefined;
  /** When its headers came. */
  #openedAt = 0;
  #broughtMessage = false;
  #retryMs: number | undefined;
  #lastEventId: string | undefined;
  /**
   * The user has been sent to sign in. Once is enough, for nobody waits for the stream; and to send
   * them again would make the sign-in under way void. Until a stream comes.
   */
  #awaitsSignIn = false;
  #budget: Budget | undefined;
  #pauseMs = FLOOD_PAUSE_MS;

  constructor(host: NotificationStreamHost) {
    this.#host = host;
  }

  /** Whether the server ever gave a stream. */
  get wasOpen(): boolean {
    return this.#wasOpen;
  }

  /** Somebody listens: opens the stream unless it is open, or there can't be one. */
  listen(): void {
    if (this.#state !== 'off') return;
    this.#openWhenAllowed();
  }

  /** Opens it after the event `lastEventId`, at once. Settles when the server has answered. */
  resume(lastEventId: string, onResumptionToken?: (token: string) => void): Promise<void> {
    if (this.#state === 'over') return Promise.reject(new Error('The stream is over'));
    const eventId = eventIdHeader(lastEventId);
    if (eventId === undefined && lastEventId !== '') return Promise.reject(badEventId());
    this.#drop();
    return new Promise((resolve, reject) => {
      const settle = (error?: unknown): void => (error === undefined ? resolve() : reject(error));
      this.#open({ lastEventId: eventId, onResumptionToken, settle });
    });
  }

  /** It brought an idle session more than is put up with: closed for a while. */
  onFlood(): void {
    if (this.#state !== 'open') return;
    this.#drop();
    this.#lastEventId = undefined;
    this.#openLater(this.#pauseMs);
    this.#pauseMs = Math.min(this.#pauseMs * 2, FLOOD_PAUSE_CEILING_MS);
  }

  /** Ends it for good. */
  stop(): void {
    this.#drop();
    this.#state = 'over';
  }

  onHead(head: AnswerHead): void {
    if (mediaTypeOf(head) !== 'text/event-stream') {
      const what = `HTTP ${head.status} with ${mediaTypeOf(head) ?? 'no content'} to a GET`;
      const error = noResponse('UNEXPECTED_CONTENT', what);
      this.#opening?.settle?.(error);
      // An endpoint that answers a GET with something else has no stream to offer.
      this.stop();
      this.#host.report(error);
      return;
    }
    this.#wasOpen = true;
    this.#awaitsSignIn = false;
    this.#openedAt = this.#host.wire.clock.now();
    this.#decoder = new SseDecoder(this.#host.maxMessageBytes, this);
    this.#opening?.settle?.();
  }

  onData(chunk: Buffer): void {
    if (this.#isOverBudget(chunk)) return this.onFlood();
    try {
      this.#decoder?.write(chunk);
    } catch (error) {
      this.#host.report(error);
      // Asked for what came after the last event, the server would send the same again.
      this.#lastEventId = undefined;
      this.#ended();
    }
  }

  onEnd(): void {
    this.#ended();
  }

  onFailure(error: unknown): void {
    if (this.#decoder !== undefined) return this.#ended();
    this.#request = undefined;
    const { status, code, retryAfterMs, sessionLost } = ownError(error);
    this.#opening?.settle?.(status === 405 ? undefined : error);
    // The server offers none, and that is no error.
    if (status === 405) return this.stop();
    if (status === 404) {
      // One that never gave a stream answers so because it has none (a missing GET route is 404 in
      // most frameworks). If the session were gone, the next POST would say so.
      this.stop();
      if (this.#wasOpen && sessionLost) this.#host.lost(error);
      else this.#host.report(error);
      return;
    }
    this.#host.report(error);
    // The SDK's error, by its class: it has no other mark.
    if ((error as Error | undefined)?.constructor.name === 'UnauthorizedError')
      this.#awaitsSignIn = true;
    if (refusesEvent(status)) this.#lastEventId = undefined;
    const { wire, random } = this.#host;
    this.#governor = afterFailure(this.#governor, wire.clock.now(), random());
    this.#openWhenAllowed(retryAfterMs === undefined ? 0 : clampRetryMs(retryAfterMs));
    if (code === 'CONNECT_FAILED') this.#host.lost(error);
  }

  onEvent({ id, event, data }: StreamEvent): void {
    if (id !== undefined) this.#tellResumption(id);
    if (data === '' || (event !== undefined && event !== 'message')) return;
    let messages: readonly JSONRPCMessage[];
    try {
      messages = parseMessages(data);
    } catch (error) {
      this.#host.report(error);
      return;
    }
    this.#broughtMessage = true;
    for (const message of messages) {
      if (this.#decoder === undefined) return;
      this.#host.receive(message);
    }
  }

  onRetry(retryMs: number): void {
    this.#retryMs = retryMs;
  }

  #open(opening: Opening): void {
    const { wire, mayNotLeave } = this.#host;
    this.#state = 'open';
    this.#opening = opening;
    this.#broughtMessage = false;
    this.#retryMs = undefined;
    this.#lastEventId = opening.lastEventId;
    this.#governor = afterStart(this.#governor, wire.clock.now());
    const own: Record<string, string> = { accept: 'text/event-stream' };
    if (opening.lastEventId !== undefined) own['last-event-id'] = opening.lastEventId;
    const mayAuthorize = !this.#awaitsSignIn;
    const plan = { method: 'GET', own, mayNotLeave, mayAuthorize } as const;
    this.#request = new HttpRequest(wire, plan, this);
    this.#request.send();
  }

  #isOverBudget(chunk: Buffer): boolean {
    if (!this.#host.isIdle()) return false;
    this.#budget ??= createBudget(IDLE_BUDGET.kibibytes, IDLE_BUDGET.periodMs);
    return !this.#budget.spend(Math.max(1, chunk.length / 1024), this.#host.wire.clock.now());
  }

  #tellResumption(id: string): void {
    this.#lastEventId = eventIdHeader(id);
    if (id === '') return;
    try {
      this.#opening?.onResumptionToken?.(id);
    } catch (error) {
      this.#host.report(error);
    }
  }

  /** The stream was ended by the server, or broke a bound. */
  #ended(): void {
    const { wire, random } = this.#host;
    const now = wire.clock.now();
    this.#governor = afterStream(
      this.#governor,
      {
        livedMs: now - this.#openedAt,
        broughtMessage: this.#broughtMessage,
        retryMs: this.#retryMs,
      },
      now,
      random(),
    );
    this.#drop();
    this.#openWhenAllowed();
  }

  /** Bound: the governor holds the GET back, ever longer while streams flap. */
  #openWhenAllowed(atLeastMs = 0): void {
    const governed = reconnectWaitMs(this.#governor, this.#host.wire.clock.now());
    const waitMs = Math.max(governed, atLeastMs);
    if (waitMs === 0) return this.#openAgain();
    this.#openLater(waitMs);
    const { flaps } = this.#governor;
    if (flaps > 0 && flaps <= SLOWED_TOLD_MAX) this.#host.slowed(waitMs);
  }

  #openAgain(): void {
    const onResumptionToken = this.#opening?.onResumptionToken;
    this.#open({ lastEventId: this.#lastEventId, onResumptionToken, settle: undefined });
  }

  #openLater(waitMs: number): void {
    this.#state = 'waiting';
    // Rounded up: a timer that fires a fraction too early would ask sooner than is allowed.
    const { clock } = this.#host.wire;
    this.#timer = clock.setTimeout(() => this.#openAgain(), Math.ceil(waitMs));
    this.#timer.unref();
  }

  /** Lets go of the GET under way and of the timer. */
  #drop(): void {
    this.#opening?.settle?.(new DOMException('The stream was closed', 'AbortError'));
    this.#decoder?.stop();
    this.#decoder = undefined;
    this.#request?.abort();
    this.#request = undefined;
    if (this.#timer !== undefined) this.#host.wire.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

function badEventId(): TypeError {
  return new TypeError('Expected `lastEventId` to be an event id that a header can hold');
}
