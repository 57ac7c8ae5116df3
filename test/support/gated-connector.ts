// Stands in until every test names the testing kit by its package entry.

import type { FakeClient, ManualClock } from 'mcp-session-pool/testing';
import { GatedConnector as Kit } from '../../src/testing/gated-connector.ts';

export type {
  FakeClient,
  FakeSession,
  Gate,
  Gates,
  PeerCall,
  RecordedCall,
  SyncGate,
} from 'mcp-session-pool/testing';

export class GatedConnector extends Kit<FakeClient> {
  constructor(clock: ManualClock) {
    super({ clock });
  }
}
