// Turns events into log lines. Levels: what an operator is paged for is `error` or `warn`, a
// session's life is `info`, a lease's is `debug`. Lines hold what the events hold: nothing secret.
// Beside them, at `debug`, what processes of servers write to their stderr.

import { pino } from 'pino';
import type { PoolEvent } from './events.ts';

type LogLine = (fields: object, message: string) => void;

/** What the pool asks of a logger. A pino logger is one. */
export interface Logger {
  debug: LogLine;
  info: LogLine;
  warn: LogLine;
  error: LogLine;
}

export type LogLevel = keyof Logger;

/** Belt and braces: events carry none of these, and if one ever did it would not be printed. */
const REDACTED = ['authorization', 'cookie', 'headers', 'sessionId', 'token', 'url'];

/** The logger of a pool that was given none: pino on stderr at `level`, or no logger at all. */
export function defaultLogger(level: string | undefined): Logger | undefined {
  if (level === undefined || level === '' || level === 'silent') return undefined;
  return pino(
    {
      name: 'mcp-session-pool',
      level: Object.hasOwn(pino.levels.values, level) ? level : 'info',
      redact: [...REDACTED, ...REDACTED.map((name) => `*.${name}`)],
    },
    pino.destination({ fd: 2, sync: true }),
  );
}

/** The level of an event's line. */
export function levelOf(event: PoolEvent): LogLevel {
  switch (event.type) {
    case 'session-abandoned':
    case 'session-open-failed':
    case 'session-trouble':
    case 'stream-slowed':
    case 'lease-leaking':
    case 'circuit-opened':
      return 'warn';
    case 'session-probed':
      return event.ok ? 'debug' : 'warn';
    case 'session-opened':
    case 'session-retired':
    case 'session-closed':
    case 'circuit-half-opened':
    case 'circuit-closed':
    case 'pool-closing':
    case 'pool-closed':
      return 'info';
    case 'lease-granted':
    case 'acquire-rejected':
      return 'debug';
    case 'lease-ended':
      return event.reason === 'lease-overdue' ? 'warn' : 'debug';
    default:
      return event satisfies never;
  }
}

/** What a server's process wrote to its stderr, and whose it is. */
export interface ServerLine {
  readonly key: string;
  readonly server: string;
  readonly line: string;
}

/**
 * Writes a line of a server. At `debug`: servers say there how they start, what they do, and
 * whatever else, secrets included, for all that anybody knows.
 */
export function writeServerLine(logger: Logger, line: ServerLine): void {
  logger.debug(line, 'server stderr');
}

/** Writes one line for `event`. */
export function writeEvent(logger: Logger, event: PoolEvent): void {
  const { type, ...fields } = event;
  logger[levelOf(event)](fields, type.replaceAll('-', ' '));
}
