// Stands in until every test names the testing kit by its package entry.

export {
  FakeClient,
  FakeSession,
  type Gate,
  GatedConnector,
  type Gates,
  type PeerCall,
  type RecordedCall,
  type SyncGate,
} from 'mcp-session-pool/testing';
