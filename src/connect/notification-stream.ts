// The notification stream (GET) of one HTTP session over the SDK's transport: opened when somebody
// listens, opened again when the server ends it, closed when it floods an idle session. How long it
// waits between two GETs is the fence's to say; here is only whether there is to be one.

import { AsyncLocalStorage } from 'node:async_hooks';
import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { Clock, Timer } from '../clock.ts';
import { statusOf } from './failure-of.ts';

/** What the stream is made with. */
export interface NotificationStreamOptions {
  readonly clock: Clock;
  /** Asks the transport for a stream, after the event `lastEventId` if not empty. */
  readonly open: (lastEventId: string) => Promise<void>;
  /** Tells of a stream that could not be opened. */
  readonly onFailure: (error: unknown) => void;
}

/** How long a stream that flooded an idle session stays closed: doubling up to the ceiling. */
const FLOOD_PAUSE_MS = 60_000;
const FLOOD_PAUSE_CEILING_MS = 300_000;
/** How long to wait after a GET that brought no stream: doubling up to the ceiling. */
const RETRY_FLOOR_MS = 1_000;
const RETRY_CEILING_MS = 300_000;

/**
 * Runs in no caller's async context: a stream outlives the lease that first wanted it, and must not
 * hand one caller's context to the handlers of the next.
 */
const runDetached = AsyncLocalStorage.snapshot();

/**
 * `off`: nobody listens yet. `on`: a GET is open or on its way. `paused`: closed, and a timer
 * will open it. `over`: the server offers none, or the session is closing.
 */
type State = 'off' | 'on' | 'paused' | 'over';

/** See the file header. */
export class NotificationStream {
  readonly #options: NotificationStreamOptions;
  /** Whether the server ever gave a stream. */
  wasOpen = false;
  #state: State = 'off';
  #pauseMs = FLOOD_PAUSE_MS;
  /** GETs in a row that brought no stream. */
  #failures = 0;
  #timer: Timer | undefined;
  /** Ends the GET that is open, alone. */
  #cut: AbortController | undefined;

  constructor(options: NotificationStreamOptions) {
    this.#options = options;
  }

  /** Somebody listens: opens the stream unless it is open, or there can't be one. */
  want(): void {
    if (this.#state === 'on' || this.#state === 'over') return;
    this.#clearTimer();
    this.#open('');
  }

  /** The server ended the stream. */
  onEnd(lastEventId: string | undefined): void {
    // Bound: the fence's governor holds the GET back, ever longer while streams flap.
    if (this.#state === 'on') this.#open(lastEventId ?? '');
  }

  /** Closes the stream of an idle session that gets more than its budget. */
  onFlood(): void {
    if (this.#state !== 'on') return;
    this.#cut?.abort(new DOMException('The stream flooded an idle session', 'AbortError'));
    this.#openLater('', this.#pauseMs);
    this.#pauseMs = Math.min(this.#pauseMs * 2, FLOOD_PAUSE_CEILING_MS);
  }

  /** Ends it for good. The GET that is open is left to the fence. */
  stop(): void {
    this.#state = 'over';
    this.#cut = undefined;
    this.#clearTimer();
  }

  /** Carries the stream's GET, so that it can be cut and its status be seen. */
  async fetch(fetch: FetchLike, url: string | URL, init: RequestInit = {}): Promise<Response> {
    const cut = new AbortController();
    const outer = init.signal;
    const onAbort = (): void => cut.abort(outer?.reason);
    if (outer?.aborted) onAbort();
    // The transport's signal lives as long as the session: at most one listener stays on it.
    const letGo = (): void => outer?.removeEventListener('abort', onAbort);
    outer?.addEventListener('abort', onAbort, { once: true });
    cut.signal.addEventListener('abort', letGo, { once: true });
    // The GET before this one is over, or was redirected here.
    this.#cut?.abort();
    this.#cut = cut;
    const response = await fetch(url, { ...init, signal: cut.signal });
    // The server offers none, and that is no error.
    if (response.status === 405) this.stop();
    return response;
  }

  #open(lastEventId: string): void {
    this.#state = 'on';
    runDetached(() => this.#options.open(lastEventId)).then(
      () => {
        this.#failures = 0;
        this.wasOpen = true;
      },
      (error: unknown) => this.#onFailure(error, lastEventId),
    );
  }

  #onFailure(error: unknown, lastEventId: string): void {
    if (this.#state !== 'on') return;
    this.#options.onFailure(error);
    // A 404 that was no loss is of a server without sessions, which knows no stream either.
    if (statusOf(error) === 404) this.stop();
    if (this.#state !== 'on') return;
    // Bound: a floor of our own, for what fails before it reaches the fence (a token that can't be
    // had) is held back by nobody.
    const delayMs = Math.min(RETRY_FLOOR_MS * 2 ** this.#failures, RETRY_CEILING_MS);
    this.#failures = Math.min(this.#failures + 1, 16);
    this.#openLater(lastEventId, delayMs);
  }

  #openLater(lastEventId: string, delayMs: number): void {
    this.#state = 'paused';
    this.#timer = this.#options.clock.setTimeout(() => this.#open(lastEventId), delayMs);
    this.#timer.unref();
  }

  #clearTimer(): void {
    if (this.#timer !== undefined) this.#options.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
