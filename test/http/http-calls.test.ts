// The calls in flight, as a table: what enters it leaves it.

import { expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { Dispatchers } from '../../src/http/dispatchers.ts';
import { HttpCalls } from '../../src/http/http-calls.ts';
import { PostQueue } from '../../src/http/post-queue.ts';
import { Wire } from '../../src/http/wire.ts';
import { rejectionOf } from '../support/transport-fixture.ts';

function newCalls(): HttpCalls {
  const wire = new Wire({
    clock: systemClock,
    endpoint: new URL('http://127.0.0.1:1/mcp'),
    userInfo: undefined,
    headers: () => ({}),
    dispatchers: new Dispatchers({ connectTimeoutMs: 1_000 }).hold(),
    authorization: undefined,
    sessionId: undefined,
    protocolVersion: undefined,
  });
  const mayNotLeave = (): undefined => undefined;
  return new HttpCalls({
    wire,
    maxMessageBytes: 1_000,
    posts: new PostQueue({ wire, acceptTimeoutMs: 1_000, mayNotLeave }),
    deliver: () => {},
    report: () => {},
    mayNotLeave,
    clearsFailedCalls: true,
  });
}

test('a call that can not be written as JSON fails, and leaves nothing in the table', async () => {
  const calls = newCalls();
  const options = { headers: undefined, resumptionToken: undefined, onResumptionToken: undefined };
  const params = { n: 1n };
  const sent = calls.send({ jsonrpc: '2.0', id: 1, method: 'tools/call', params }, options);
  expect(await rejectionOf(sent)).toBeInstanceOf(TypeError);
  expect(calls.size).toBe(0);
});
