// Follows the abort signals of others with one listener each, however many requests share one: a
// transport gives all its requests the signal of its session, Node warns at the eleventh listener,
// and a listener left behind stays as long as the session. It knows nothing of requests.

/** Runs functions when signals abort. */
export class AbortFanout {
  /** Per signal, what its one listener runs. An entry goes with the last function of its set. */
  readonly #followers = new Map<AbortSignal, Set<() => void>>();

  /** Runs `onAbort` when `signal` aborts, unless `unfollow` is called before with the same two. */
  follow(signal: AbortSignal | null | undefined, onAbort: () => void): void {
    if (!signal) return;
    const followers = this.#followers.get(signal);
    if (followers !== undefined) {
      followers.add(onAbort);
      return;
    }
    this.#followers.set(signal, new Set([onAbort]));
    signal.addEventListener('abort', this.#onAbort);
  }

  /** Takes `onAbort` off `signal`. A no-op if it is not there. */
  unfollow(signal: AbortSignal | null | undefined, onAbort: () => void): void {
    const followers = signal ? this.#followers.get(signal) : undefined;
    if (!signal || !followers?.delete(onAbort) || followers.size > 0) return;
    this.#followers.delete(signal);
    signal.removeEventListener('abort', this.#onAbort);
  }

  readonly #onAbort = (event: Event): void => {
    const signal = event.target as AbortSignal;
    const followers = this.#followers.get(signal);
    signal.removeEventListener('abort', this.#onAbort);
    // Order: known while they run, so that one that another takes off does not run any more.
    for (const onAbort of followers ?? []) onAbort();
    this.#followers.delete(signal);
  };
}
