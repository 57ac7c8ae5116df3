// Who reads the answer to an HTTP request, as a type: what an exchange tells it, in which order.
// Knows neither sockets nor messages.

/** Header fields by lower-case name; several values where a name came several times. */
export type AnswerHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** The first part of an answer. */
export interface AnswerHead {
  readonly status: number;
  readonly headers: AnswerHeaders;
}

/**
 * Is told of one answer: `onHead` once, then `onData` any number of times, and last `onEnd` or
 * `onFailure`, one of them, once. `onFailure` may come first of all. None of them may throw.
 */
export interface AnswerReader {
  onHead(head: AnswerHead): void;
  /** A part of the body, decoded as its `content-encoding` says. */
  onData(chunk: Buffer): void;
  /** The body is complete. */
  onEnd(): void;
  /** No answer will come, or no more of it. */
  onFailure(error: unknown): void;
}

/** The one value of a header; the first, where a peer sent several. */
export function headerOf(headers: AnswerHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'object' ? value[0] : value;
}
