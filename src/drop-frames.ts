// Makes errors safe to keep: until its stack is first read, V8 keeps the frames of an error, and
// with them every `this` on the way, such as a transport and all that it holds.

/** How deep causes are followed. Bound: a cyclic chain of causes must not loop. */
const MAX_DEPTH = 8;

/**
 * Lets go of what `error` and its causes hold beyond their text. Whoever keeps the error would keep
 * that. Costs some 10 µs each, so it is done for errors that somebody gets.
 */
export function dropFrames<T>(error: T): T {
  let each: unknown = error;
  for (let depth = 0; depth < MAX_DEPTH && each instanceof Error; depth += 1) {
    void each.stack;
    each = each.cause;
  }
  return error;
}
