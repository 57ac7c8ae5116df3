// An abort controller that knows how many listeners its signal has: what an acquire leaves behind on
// a caller's long-lived signal is a leak (Invariant I5).

export class CountedController {
  readonly #controller = new AbortController();
  readonly #listeners = new Set<unknown>();

  constructor() {
    const { signal } = this.#controller;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (type: string, listener: never, options?: never): void => {
      this.#listeners.add(listener);
      add(type, listener, options);
    };
    signal.removeEventListener = (type: string, listener: never): void => {
      this.#listeners.delete(listener);
      remove(type, listener);
    };
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get listenerCount(): number {
    return this.#listeners.size;
  }

  abort(reason?: unknown): void {
    this.#controller.abort(reason);
  }
}
