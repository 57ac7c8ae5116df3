// The public surface of `mcp-session-pool/v2`: the same pool, lending clients of SDK 2. Explicit
// named exports, nothing else. `v2Connector` never loads SDK 1; a pool without it would. The guard
// comes first, see there.

import '../host-fetch-guard.ts';

export type { AcquireOptions } from '../acquire-request.ts';
export { type CloseOnSignalsOptions, closeOnSignals } from '../close-on-signals.ts';
export type { CloseOptions, CloseReport } from '../closing.ts';
export type { Connection, Connector } from '../connect/connector.ts';
export type {
  TransportConnectorOptions,
  TransportContext,
} from '../connect/transport-connector.ts';
export {
  AcquireTimeoutError,
  CircuitOpenError,
  type Execution,
  IdentityRequiredError,
  LeaseReleasedError,
  OpenError,
  type OpenFailureKind,
  PoolClosedError,
  PoolSaturatedError,
  SessionLostError,
  SessionPoolError,
  type SessionPoolErrorCode,
} from '../errors.ts';
export { HttpRequestError } from '../http/http-request-error.ts';
export { InvariantError } from '../invariant.ts';
export type { Lease } from '../lease.ts';
export type { EventSink, PoolEvent } from '../observe/events.ts';
export type { PoolStats } from '../observe/metrics.ts';
export type { SessionPoolOptions } from '../options.ts';
export type { RetireFilter, RetireOptions } from '../retire.ts';
export { SessionPool } from '../session-pool.ts';
export { StdioError, type StdioFailureCode } from '../stdio/stdio-error.ts';
export type { CustomTarget, HttpTarget, Scope, SessionTarget, StdioTarget } from '../target.ts';
export type { UseOptions } from '../use.ts';
export type { WarmOptions, WarmReport } from '../warm.ts';
export { type V2ConnectorOptions, v2Connector } from './connector.ts';
export {
  type V2MakeTransport,
  type V2SessionTransport,
  v2TransportConnector,
} from './transport-connector.ts';
