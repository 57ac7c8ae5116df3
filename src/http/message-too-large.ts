// The error of a peer that sends more in one message than the caller allows. It knows nothing of
// bodies or streams.

/** A peer sent a message (a JSON body, or one event of an event stream) over `maxMessageBytes`. */
export class MessageTooLargeError extends Error {
  override readonly name = 'MessageTooLargeError';
  /** Stable, made for `switch`. */
  readonly code = 'MESSAGE_TOO_LARGE';
  /** The bound that was passed, in bytes. */
  readonly maxMessageBytes: number;

  constructor(maxMessageBytes: number) {
    super(`The peer sent a message of more than maxMessageBytes (${maxMessageBytes})`);
    this.maxMessageBytes = maxMessageBytes;
  }
}
