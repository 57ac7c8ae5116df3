// The teardown of one session: four rungs in order, inside a deadline it shares with others. A peer
// that never settles is not waited for past its share of the time and is never called twice.
// Nothing here throws at anybody: trouble is part of the outcome. Knows nothing of keys, leases or
// slots.
//
// Order: fence, terminate, close, sever. Closing before terminating would abort the DELETE (hazard
// 1b), and cutting sockets before closing feeds the reconnect loops of transports (hazard 20).

import type { Connection } from './connect/connector.ts';
import type { Loss } from './loss.ts';
import type { RungResult, TeardownOutcome } from './observe/events.ts';
import type { TeardownCrew } from './teardown-crew.ts';
import type { TeardownDeadline } from './teardown-deadline.ts';

/** Which rung a teardown is waiting at. */
type Stage = 'fence' | 'terminate' | 'client-close' | 'transport-close' | 'sever' | 'finished';

/** A peer that was called more recently has hardly had a turn of the event loop to settle in. */
const JUST_NOW_MS = 50;

/** The rungs that are waited for. */
type AwaitedRung = 'terminate' | 'clientClose' | 'transportClose';

export class Teardown {
  readonly #crew: TeardownCrew;
  readonly #deadline: TeardownDeadline;
  readonly #onFinish: (outcome: TeardownOutcome) => void;
  readonly #startedAt: number;
  readonly #loss: Loss;
  /**
   * Let go when finished, so that a promise that never settles keeps nothing of the session alive.
   */
  #connection: Connection<unknown> | undefined;
  #stage: Stage = 'fence';
  /** When each was called. */
  readonly #calledAt: Record<AwaitedRung, number> = {
    terminate: 0,
    clientClose: 0,
    transportClose: 0,
  };
  /** Aborts the DELETE when its share of the time is over. */
  #terminating: AbortController | undefined;
  readonly #results: Record<'fence' | 'sever' | AwaitedRung, RungResult> = {
    fence: 'absent',
    terminate: 'absent',
    clientClose: 'not-sent',
    transportClose: 'not-sent',
    sever: 'absent',
  };

  constructor(
    crew: TeardownCrew,
    connection: Connection<unknown>,
    details: {
      readonly loss: Loss;
      readonly deadline: TeardownDeadline;
      readonly onFinish: (outcome: TeardownOutcome) => void;
    },
  ) {
    this.#crew = crew;
    this.#connection = connection;
    this.#loss = details.loss;
    this.#deadline = details.deadline;
    this.#onFinish = details.onFinish;
    this.#startedAt = crew.clock.now();
  }

  /** Begins with the first rung, at once where the pace allows it. */
  start(): void {
    this.#deadline.add(this);
    this.#crew.pacer.run(() => this.#fence());
  }

  /** A permit to terminate has come. It is returned when the rung ends, or at once if it has. */
  permit(): void {
    this.#crew.pacer.run(() => this.#sendTerminate());
  }

  /** Half of the time is over: no more waiting for the DELETE. */
  endTerminate(): void {
    if (this.#stage === 'terminate') this.#leaveTerminate('timed-out');
  }

  /** Three quarters of the time are over: no more waiting for the client. */
  endClientClose(): void {
    if (this.#stage === 'client-close') this.#leaveClientClose('timed-out');
  }

  /** The time is over. What was never begun, because the event loop lagged, is begun now. */
  expire(): void {
    if (this.#stage === 'fence') this.#fence();
    this.endTerminate();
    this.endClientClose();
    if (this.#stage === 'transport-close') this.#leaveTransportClose('timed-out');
  }

  #fence(): void {
    if (this.#stage !== 'fence') return;
    const connection = this.#connection;
    this.#results.fence = attempt(
      connection?.fence && (() => connection.fence?.(this.#loss.error)),
    );
    this.#stage = 'terminate';
    if (connection?.terminate === undefined) this.#leaveTerminate('absent');
    else {
      this.#results.terminate = 'not-sent';
      this.#crew.requestTerminate(this);
    }
  }

  #sendTerminate(): void {
    const terminate = this.#connection?.terminate;
    if (this.#stage !== 'terminate' || terminate === undefined) {
      this.#crew.returnPermit();
      return;
    }
    this.#terminating = new AbortController();
    const { signal } = this.#terminating;
    this.#await('terminate', () => terminate.call(this.#connection, signal));
  }

  #leaveTerminate(result: RungResult): void {
    this.#stage = 'client-close';
    const wasSent = this.#terminating !== undefined;
    // Never sent, because others were still ahead when its time ended: 'not-sent' stays.
    if (wasSent || result === 'absent') this.#results.terminate = result;
    if (result === 'timed-out') this.#terminating?.abort(this.#loss.error);
    this.#terminating = undefined;
    if (wasSent) this.#crew.returnPermit();
    else if (result === 'timed-out') this.#crew.withdrawTerminate(this);
    this.#crew.pacer.run(() => this.#closeClient());
  }

  #closeClient(): void {
    const client = this.#connection?.client;
    if (this.#results.clientClose !== 'not-sent') return;
    this.#await('clientClose', () => client?.close());
  }

  #leaveClientClose(result: RungResult): void {
    // Its turn in the pace may not have come: the close is called once all the same.
    this.#closeClient();
    // It threw, and has left the rung by that.
    if (this.#stage !== 'client-close') return;
    this.#results.clientClose = result;
    this.#stage = 'transport-close';
    this.#crew.pacer.run(() => this.#closeTransport());
  }

  #closeTransport(): void {
    const transport = this.#connection?.transport;
    if (this.#results.transportClose !== 'not-sent') return;
    this.#await('transportClose', () => transport?.close());
  }

  #leaveTransportClose(result: RungResult): void {
    this.#closeTransport();
    if (this.#stage !== 'transport-close') return;
    this.#results.transportClose = result;
    this.#stage = 'sever';
    this.#crew.pacer.run(() => this.#sever());
  }

  #sever(): void {
    const connection = this.#connection;
    this.#results.sever = attempt(
      connection?.sever && (() => connection.sever?.(this.#loss.error)),
    );
    this.#connection = undefined;
    this.#deadline.remove(this);
    const { clock } = this.#crew;
    const calledLate = this.#isJustCalled('clientClose') || this.#isJustCalled('transportClose');
    // A process that was held up may come to the call and to the end of its time in one turn: the
    // peer gets one to settle in, or those that are well would be reported as abandoned.
    if (this.#isAbandoned && calledLate) clock.yield(() => this.#finish());
    else this.#finish();
  }

  #isJustCalled(rung: AwaitedRung): boolean {
    return this.#crew.clock.now() - this.#calledAt[rung] < JUST_NOW_MS;
  }

  get #isAbandoned(): boolean {
    const { clientClose, transportClose } = this.#results;
    return clientClose === 'timed-out' || transportClose === 'timed-out';
  }

  #finish(): void {
    this.#stage = 'finished';
    this.#onFinish({
      result: this.#isAbandoned ? 'abandoned' : 'closed',
      ...this.#results,
      durationMs: this.#crew.clock.now() - this.#startedAt,
    });
  }

  /** Calls a peer once and goes on when it settles, if its stage has not ended by then. */
  #await(rung: AwaitedRung, call: () => Promise<void> | undefined): void {
    this.#results[rung] = 'timed-out';
    this.#calledAt[rung] = this.#crew.clock.now();
    let settled: Promise<void>;
    try {
      settled = Promise.resolve(call());
    } catch {
      this.#settle(rung, 'failed');
      return;
    }
    settled.then(
      () => this.#settle(rung, 'done'),
      () => this.#settle(rung, 'failed'),
    );
  }

  #settle(rung: AwaitedRung, result: RungResult): void {
    if (rung === 'terminate' && this.#stage === 'terminate') this.#leaveTerminate(result);
    else if (rung === 'clientClose' && this.#stage === 'client-close') {
      this.#leaveClientClose(result);
    } else if (rung === 'transportClose' && this.#stage === 'transport-close') {
      this.#leaveTransportClose(result);
    } else if (rung !== 'terminate' && this.#stage !== 'finished' && this.#isJustCalled(rung)) {
      this.#results[rung] = result;
    } else this.#crew.countLateSettlement();
  }
}

/** Runs a synchronous rung; what it throws is a result. */
function attempt(rung: (() => void) | undefined): RungResult {
  if (rung === undefined) return 'absent';
  try {
    rung();
    return 'done';
  } catch {
    return 'failed';
  }
}
