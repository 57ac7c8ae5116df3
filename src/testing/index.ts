// The testing kit's surface, for those who test a gateway of their own: explicit named exports,
// nothing else. Loads neither the pool nor the SDK nor undici.

export { deafFetch, floodBody, hungBody, type MakeBody } from './deaf-fetch.ts';
export { type EventOf, type EventRecorder, recordEvents } from './event-recorder.ts';
export type { FakeClient, FakeSession } from './fake-session.ts';
export {
  type GateChooser,
  type GatedConnector,
  type GatedConnectorOptions,
  gatedConnector,
  hungConnector,
} from './gated-connector.ts';
export type { AnsweredCall, Gate, Gates, PeerCall, RecordedCall, SyncGate } from './gates.ts';
export {
  HOSTILE_SERVERS,
  type HostileServerInfo,
  type HostileServerName,
} from './hostile-names.ts';
export {
  type HostileServer,
  type HostileServerOptions,
  hostileServer,
} from './hostile-server.ts';
export { type Leftover, leftovers } from './leftovers.ts';
export type { SeenMessage, SeenRequest } from './loopback-server.ts';
export { ManualClock } from './manual-clock.ts';
