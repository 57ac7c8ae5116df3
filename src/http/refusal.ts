// An answer that is no success, read as far as it helps whoever has to understand it: the status
// and the beginning of the body. Knows HTTP only.

import { httpDateMs } from '../clock.ts';
import type { Execution } from '../errors.ts';
import { type AnswerHead, headerOf } from './answer-reader.ts';
import { HttpRequestError } from './http-request-error.ts';
import { describeRedirect } from './redirects.ts';

/** How much of a refusal's body is kept, in bytes. The rest is not read. */
const BODY_KEPT_BYTES = 4_096;
/** Bound for `Retry-After`: larger values mean no more than "not soon". */
const RETRY_AFTER_MAX_MS = 300_000;

/** What was asked, for the message. */
export interface RefusalFacts {
  readonly method: string;
  readonly url: URL;
  readonly sentSessionId: boolean;
}

/** See the file header. */
export class Refusal {
  readonly head: AnswerHead;
  readonly #facts: RefusalFacts;
  readonly #chunks: Buffer[] = [];
  #size = 0;

  constructor(head: AnswerHead, facts: RefusalFacts) {
    this.head = head;
    this.#facts = facts;
  }

  /** Keeps a part of the body. True: that is enough of it. */
  add(chunk: Buffer): boolean {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    return this.#size >= BODY_KEPT_BYTES;
  }

  error(): HttpRequestError {
    const { status } = this.head;
    const { method, url, sentSessionId } = this.#facts;
    const retryAfterMs = retryAfterOf(this.head);
    const redirect = describeRedirect(this.head, url);
    return new HttpRequestError(status, redirect ?? `HTTP ${status} in answer to a ${method}`, {
      execution: executionOf(status),
      // Only a request that named a session can be told that it is gone: servers without sessions
      // answer 404 to what they don't know.
      sessionLost: status === 404 && sentSessionId,
      body: Buffer.concat(this.#chunks).subarray(0, BODY_KEPT_BYTES).toString(),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    });
  }
}

/**
 * The head of the answer that an interceptor of the caller's dispatcher made an error of, as
 * `retry` and `responseError` of undici do; `undefined` for any other error.
 */
export function headIn(error: unknown): AnswerHead | undefined {
  const { statusCode: status, headers } = Object(error) as Record<string, unknown>;
  if (typeof status !== 'number' || status < 300) return undefined;
  const isRecord = typeof headers === 'object' && headers !== null && !Array.isArray(headers);
  return { status, headers: isRecord ? (headers as AnswerHead['headers']) : {} };
}

/** A server that failed may have got far; one that refused has not begun. */
function executionOf(status: number): Execution {
  return status >= 500 || status === 408 ? 'unknown' : 'not-executed';
}

/**
 * `Retry-After` in seconds, or as a date: counted from the `Date` of the same answer, for our own
 * clock may be wrong by hours.
 */
function retryAfterOf({ headers }: AnswerHead): number | undefined {
  const value = headerOf(headers, 'retry-after');
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value)) return Math.min(Number(value) * 1_000, RETRY_AFTER_MAX_MS);
  const sentAt = httpDateMs(headerOf(headers, 'date') ?? '');
  const retryAt = httpDateMs(value);
  if (sentAt === undefined || retryAt === undefined) return undefined;
  return Math.min(Math.max(retryAt - sentAt, 0), RETRY_AFTER_MAX_MS);
}
