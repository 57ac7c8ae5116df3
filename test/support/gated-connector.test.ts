// The fakes keep the port's contract, so that what the heart's tests show holds for real connections.

import { describeConnection } from './connection-contract.ts';
import { makePool, TARGET } from './pool-fixture.ts';
import { testSettings } from './session-settings.ts';

describeConnection('the gated connector', async () => {
  const { connector, clock } = makePool();
  const connection = await connector.connect(TARGET, {
    signal: new AbortController().signal,
    key: 'a-key',
    settings: testSettings(),
    headers: () => ({}),
  });
  return {
    connection,
    call: (client) => client.call(),
    settle: () => clock.settle(),
    dispose: () => undefined,
  };
});
