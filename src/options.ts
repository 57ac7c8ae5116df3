// The pool's options: what each means, its default, and its check at the door. An unknown name or a
// bad value throws before anything is opened.

import type { Client, ClientOptions } from '@modelcontextprotocol/sdk/client/index.js';
import type { ClientCapabilities, Implementation } from '@modelcontextprotocol/sdk/types.js';
import type { Dispatcher } from 'undici';
import type { Connector } from './connect/connector.ts';
import { checkKnown } from './known-members.ts';
import { age, checkNumber, count, type NumberRule, show, wait } from './number-rules.ts';
import type { EventSink } from './observe/events.ts';
import type { Logger } from './observe/log.ts';
import type { BreakerRules } from './policy/breaker.ts';
import type { PoolNotificationHandler, PoolRequestHandler } from './pool-handlers.ts';
import { checkClientIdentity } from './target-check.ts';

/** Durations are in milliseconds. Every option may be left out. */
export interface SessionPoolOptions<C = Client> {
  /** Sent with `initialize`, part of every key. Default: this library's name and version. */
  readonly clientInfo?: Implementation | undefined;
  /** Sent with `initialize`, part of every key. Default: `{}`. */
  readonly capabilities?: ClientCapabilities | undefined;
  /** Passed to every SDK `Client` that is lent, `capabilities` excepted. Default: `{}`. */
  readonly clientOptions?: Omit<ClientOptions, 'capabilities'> | undefined;
  /**
   * Sessions of one key, in whatever state. Integer, minimum 1. Default: 10; 1 for targets with a
   * `command`, each of whose sessions is a process.
   */
  readonly maxSessionsPerKey?: number | undefined;
  /**
   * Sessions of all keys. When it is reached, an idle session of the least recently used key gives
   * way; sessions with affinity do not. Integer, minimum 1. Default: 1,000.
   */
  readonly maxSessions?: number | undefined;
  /**
   * Keys with sessions or waiters. Over it: `POOL_SATURATED`. Integer, minimum 1. Default: 10,000.
   */
  readonly maxKeys?: number | undefined;
  /** Waiting acquires of one key. Over it: `POOL_SATURATED`. Integer, minimum 1. Default: 1,000. */
  readonly maxWaitersPerKey?: number | undefined;
  /** Sessions of one key being opened at once. Integer, minimum 1. Default: 4. */
  readonly maxOpeningPerKey?: number | undefined;
  /**
   * Concurrent leases on one session: 1 lends it exclusively, n shares it. Integer, minimum 1.
   * Default: 1. A target may say otherwise.
   */
  readonly leasesPerSession?: number | undefined;
  /** The wait of an acquire, from its call. Minimum 1. Default: 30,000. */
  readonly acquireTimeoutMs?: number | undefined;
  /** A whole open, from the connector's call to a session to lend. Minimum 1. Default: 10,000. */
  readonly connectTimeoutMs?: number | undefined;
  /** A whole teardown, from its first rung. Minimum 1. Default: 5,000. */
  readonly closeTimeoutMs?: number | undefined;
  /**
   * A lease held for longer is taken back, from its grant. Minimum 1; `Infinity`: never. Looked at
   * once a second at most. Default: `Infinity`.
   */
  readonly maxLeaseMs?: number | undefined;
  /**
   * A lease held for longer is reported once, with the stack of its acquire. Costs a stack per
   * acquire. Minimum 1; `Infinity`: never. Default: `Infinity`.
   */
  readonly leakWarningMs?: number | undefined;
  /**
   * An idle session is closed, from its last release. Minimum 1; `Infinity`: never. Default:
   * 300,000.
   */
  readonly idleTimeoutMs?: number | undefined;
  /** The same for sessions with affinity. Minimum 1; `Infinity`: never. Default: 1,800,000. */
  readonly affinityIdleTimeoutMs?: number | undefined;
  /**
   * A session is not lent any more, from its open, ± 10 % by chance. Does not apply with affinity.
   * Minimum 1; `Infinity`: never. Default: 1,800,000.
   */
  readonly maxLifetimeMs?: number | undefined;
  /**
   * A session idle for longer is probed before it is lent. Minimum 0; `Infinity`: never. Default:
   * 60,000.
   */
  readonly probeAfterIdleMs?: number | undefined;
  /**
   * An idle session unheard for so long is pinged in the background, from its last release or
   * answer, up to a quarter earlier by chance. One that does not answer is closed before anybody
   * gets it. Extends neither `idleTimeoutMs` nor `maxLifetimeMs`. At most 32 pings are under way, 8
   * of them to one server, and 200 start in a second: idle sessions beyond that are asked less
   * often. Minimum 1,000; `Infinity`: never. Default: `Infinity`.
   */
  readonly keepAliveMs?: number | undefined;
  /** A probe, from its start. Minimum 1. Default: 5,000. */
  readonly probeTimeoutMs?: number | undefined;
  /**
   * When `failureThreshold` opens in a row have failed (integer, minimum 1, default: 5), no more
   * are tried for `resetAfterMs` (minimum 1, default: 60,000; ± 10 % by chance), from the last one:
   * who needs an open gets `CIRCUIT_OPEN`. Then a single one is on trial. Failures within 50 ms
   * count as one, unless they took a second. Counted per endpoint, refused credentials per endpoint
   * and identity; 429 or 503 with `Retry-After` holds that identity back at once, for so long. Open
   * sessions are lent all the same. `false`: never. Default: `{}`.
   */
  readonly breaker?: Partial<BreakerRules> | false | undefined;
  /** Refuses targets without `identity` (`IDENTITY_REQUIRED`). Default: `false`. */
  readonly requireIdentity?: boolean | undefined;
  /**
   * Bytes of one message. Over it the call fails, on the one stream of stdio and HTTP+SSE the whole
   * session. Minimum 1. Default: 16 MiB.
   */
  readonly maxMessageBytes?: number | undefined;
  /**
   * A pino logger or one alike. Default: pino on stderr at the level that the environment variable
   * `MCP_SESSION_POOL_LOG` names, else none.
   */
  readonly logger?: Logger | undefined;
  /** Receives every event. It can neither delay nor change the pool. Default: none. */
  readonly onEvent?: EventSink | undefined;
  /**
   * Answers requests of servers that belong to no lease. Declare in `capabilities` what it answers.
   * Opens a notification stream per session. Default: they are answered "method not found".
   */
  readonly onRequest?: PoolRequestHandler | undefined;
  /**
   * Receives notifications that belong to no lease, and every `list_changed` and `updated`. Opens a
   * notification stream per session. Default: none.
   */
  readonly onNotification?: PoolNotificationHandler | undefined;
  /**
   * undici dispatcher for HTTP, or one by origin: proxies, TLS and the like go here. Never closed
   * by the pool. Default: one undici `Pool` per origin.
   */
  readonly dispatcher?: Dispatcher | ((origin: string) => Dispatcher) | undefined;
  /** Opens sessions instead of the built-in connectors. */
  readonly connector?: Connector<C> | undefined;
}

/** Options with every default filled in. */
export interface ResolvedOptions<C> {
  readonly clientInfo: Implementation;
  readonly capabilities: ClientCapabilities;
  readonly clientOptions: Omit<ClientOptions, 'capabilities'>;
  readonly maxSessionsPerKey: number;
  readonly maxSessions: number;
  readonly maxKeys: number;
  readonly maxWaitersPerKey: number;
  readonly maxOpeningPerKey: number;
  readonly leasesPerSession: number;
  readonly acquireTimeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly closeTimeoutMs: number;
  readonly maxLeaseMs: number;
  readonly leakWarningMs: number;
  readonly idleTimeoutMs: number;
  readonly affinityIdleTimeoutMs: number;
  readonly maxLifetimeMs: number;
  readonly probeAfterIdleMs: number;
  readonly keepAliveMs: number;
  readonly probeTimeoutMs: number;
  readonly breaker: BreakerRules | false;
  readonly requireIdentity: boolean;
  readonly maxMessageBytes: number;
  readonly logger: Logger | undefined;
  readonly onEvent: EventSink | undefined;
  readonly onRequest: PoolRequestHandler | undefined;
  readonly onNotification: PoolNotificationHandler | undefined;
  readonly dispatcher: Dispatcher | ((origin: string) => Dispatcher) | undefined;
  readonly connector: Connector<C> | undefined;
}

/** The names of the options that are numbers. */
type NumberName = {
  [Name in keyof ResolvedOptions<unknown>]: ResolvedOptions<unknown>[Name] extends number
    ? Name
    : never;
}[keyof ResolvedOptions<unknown>];

/** Every numeric option, with its default and bounds. The README's table is checked against it. */
export const NUMBER_RULES: Readonly<Record<NumberName, NumberRule>> = {
  maxSessionsPerKey: count(10),
  maxSessions: count(1_000),
  maxKeys: count(10_000),
  maxWaitersPerKey: count(1_000),
  maxOpeningPerKey: count(4),
  leasesPerSession: count(1),
  acquireTimeoutMs: wait(30_000),
  connectTimeoutMs: wait(10_000),
  closeTimeoutMs: wait(5_000),
  maxLeaseMs: age(Number.POSITIVE_INFINITY),
  leakWarningMs: age(Number.POSITIVE_INFINITY),
  idleTimeoutMs: age(300_000),
  affinityIdleTimeoutMs: age(1_800_000),
  maxLifetimeMs: age(1_800_000),
  probeAfterIdleMs: age(60_000, 0),
  keepAliveMs: age(Number.POSITIVE_INFINITY, 1_000),
  probeTimeoutMs: wait(5_000),
  maxMessageBytes: count(16 * 1024 * 1024),
};

/** The members of `breaker`, with defaults and bounds. */
export const BREAKER_RULES: Readonly<Record<keyof BreakerRules, NumberRule>> = {
  failureThreshold: count(5),
  resetAfterMs: wait(60_000),
};

/** Every other option, with the types it may have. */
const OTHER_RULES: Readonly<Record<string, readonly string[]>> = {
  clientInfo: ['object'],
  capabilities: ['object'],
  clientOptions: ['object'],
  breaker: ['object', 'boolean'],
  requireIdentity: ['boolean'],
  logger: ['object'],
  onEvent: ['function'],
  onRequest: ['function'],
  onNotification: ['function'],
  dispatcher: ['object', 'function'],
  connector: ['function'],
};

const CLIENT_INFO: Implementation = { name: 'mcp-session-pool', version: '0.1.0' };

/**
 * Checks `options` and fills in the defaults.
 * @throws TypeError for an unknown name or a value of the wrong type, RangeError for one out of
 * bounds.
 */
export function resolveOptions<C>(options: SessionPoolOptions<C>): ResolvedOptions<C> {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`Expected the options to be an object, got ${show(options)}`);
  }
  const given = options as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(given)) checkOption(name, given[name]);
  const numbers = {} as Record<NumberName, number>;
  for (const name of Object.keys(NUMBER_RULES) as NumberName[]) {
    numbers[name] = (given[name] as number | undefined) ?? NUMBER_RULES[name].default;
  }
  checkLogger(options.logger);
  checkClientIdentity(options);
  const { dispatcher } = options;
  if (typeof dispatcher === 'object' && typeof dispatcher.dispatch !== 'function') {
    throw new TypeError('Expected `dispatcher` to have a method `dispatch`, or to be a function');
  }
  return {
    ...numbers,
    clientInfo: options.clientInfo ?? CLIENT_INFO,
    capabilities: options.capabilities ?? {},
    clientOptions: options.clientOptions ?? {},
    breaker: resolveBreaker(options.breaker),
    requireIdentity: options.requireIdentity ?? false,
    logger: options.logger,
    onEvent: options.onEvent,
    onRequest: options.onRequest,
    onNotification: options.onNotification,
    dispatcher: options.dispatcher,
    connector: options.connector,
  };
}

/** Checks a number of things, 1 at least. @throws TypeError or RangeError. */
export function checkCount(name: string, value: unknown): void {
  checkNumber(name, value, count(1));
}

function resolveBreaker(given: Partial<BreakerRules> | false = {}): BreakerRules | false {
  if (given === false) return false;
  if ((given as unknown) === true) {
    throw new TypeError('Expected `breaker` to be `false` or an object, got `true` (boolean)');
  }
  checkKnown('breaker member', given, new Set(Object.keys(BREAKER_RULES)));
  const of = (name: keyof BreakerRules): number => {
    const { [name]: value = BREAKER_RULES[name].default } = given;
    checkNumber(`breaker.${name}`, value, BREAKER_RULES[name]);
    return value;
  };
  return { failureThreshold: of('failureThreshold'), resetAfterMs: of('resetAfterMs') };
}

/** Checks the `timeoutMs` of one acquire. @throws TypeError or RangeError. */
export function checkTimeout(name: string, value: unknown, min: number): void {
  checkNumber(name, value, { ...wait(0), min });
}

function checkOption(name: string, value: unknown): void {
  if (value === undefined) return;
  if (Object.hasOwn(NUMBER_RULES, name)) {
    return checkNumber(name, value, NUMBER_RULES[name as NumberName]);
  }
  const types = Object.hasOwn(OTHER_RULES, name) ? OTHER_RULES[name] : undefined;
  if (types === undefined) {
    const known = [...Object.keys(NUMBER_RULES), ...Object.keys(OTHER_RULES)].sort().join(', ');
    throw new TypeError(`Unknown option \`${name}\`; known options: ${known}`);
  }
  if (value === null || !types.includes(typeof value)) {
    throw new TypeError(`Expected \`${name}\` to be ${types.join(' or ')}, got ${show(value)}`);
  }
}

function checkLogger(logger: Logger | undefined): void {
  for (const level of ['debug', 'info', 'warn', 'error'] as const) {
    if (logger !== undefined && typeof logger[level] !== 'function') {
      throw new TypeError(`Expected \`logger\` to have a method \`${level}\``);
    }
  }
}
