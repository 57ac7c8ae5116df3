// The testing kit's surface: explicit named exports, nothing else.

export { FakeClient, FakeSession } from './fake-session.ts';
export { GatedConnector } from './gated-connector.ts';
export type { Gate, Gates, PeerCall, RecordedCall, SyncGate } from './gates.ts';
export { ManualClock } from './manual-clock.ts';
