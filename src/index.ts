// The public surface: explicit named exports, nothing else. The guard comes first, see there.

import './host-fetch-guard.ts';

export type { AcquireOptions } from './acquire-request.ts';
export type { Clock, Timer } from './clock.ts';
export type { CloseOptions, CloseReport } from './closing.ts';
export type {
  ConnectContext,
  Connection,
  Connector,
  LeaseContext,
  ServerAnswer,
  ServerNotificationHandler,
  ServerRequestContext,
  ServerRequestHandler,
  SessionHandlers,
  SessionSettings,
} from './connect/connector.ts';
export { createFence, type Fence, type FenceOptions } from './connect/fence.ts';
export type { StreamEnd } from './connect/fenced-request.ts';
export {
  type AcquirePhase,
  AcquireTimeoutError,
  CircuitOpenError,
  type Execution,
  IdentityRequiredError,
  type KeyCounts,
  type LeaseEndReason,
  LeaseReleasedError,
  OpenError,
  type OpenErrorDetails,
  type OpenFailureKind,
  PoolClosedError,
  PoolSaturatedError,
  SessionLostError,
  SessionPoolError,
  type SessionPoolErrorCode,
} from './errors.ts';
export type { DispatcherSource } from './http/dispatchers.ts';
export {
  type HttpFailureCode,
  type HttpFailureDetails,
  HttpRequestError,
} from './http/http-request-error.ts';
export { StreamableHttpTransport } from './http/streamable-http-transport.ts';
export type {
  HttpMessageExtra,
  HttpSendOptions,
  StreamableHttpTransportOptions,
} from './http/transport-options.ts';
export { InvariantError } from './invariant.ts';
export type { Lease } from './lease.ts';
export type {
  CircuitOpenReason,
  EventSink,
  PoolEvent,
  RetireReason,
  RungResult,
  TeardownOutcome,
} from './observe/events.ts';
export type { Logger } from './observe/log.ts';
export type {
  CircuitCounts,
  KeyStats,
  PoolStats,
  SessionCounts,
  Totals,
} from './observe/metrics.ts';
export type { SessionPoolOptions } from './options.ts';
export type { BreakerRules } from './policy/breaker.ts';
export type { Failure } from './policy/failure.ts';
export type {
  PoolNotificationHandler,
  PoolRequestContext,
  PoolRequestHandler,
  ServerMessageSource,
} from './pool-handlers.ts';
export type { RetireFilter, RetireOptions, SessionFilter, SessionInfo } from './retire.ts';
export { SessionPool, type SessionPoolEnvironment } from './session-pool.ts';
export type {
  AskHeaders,
  CustomTarget,
  HeaderRecord,
  HeaderSource,
  HttpTarget,
  Scope,
  SessionTarget,
  StdioTarget,
} from './target.ts';
export type { UseOptions } from './use.ts';
export type { WarmOptions, WarmReport } from './warm.ts';
