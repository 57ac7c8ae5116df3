// A process of its own for what only an exit shows: that the fence keeps none alive, and lets none
// go before its time. Run as `node fence-exit.js <scenario> <url>` by fence-exit.test.ts, which
// also runs the server.

import { createFence } from '../../src/connect/fence.ts';
import { connectClient } from '../support/fenced-client.ts';

const [, , scenario, address = ''] = process.argv;
const url = new URL(address);
const events = { headers: { accept: 'text/event-stream' } };

/** A session with a hung stream, hung calls and calls that wait to be resumed, torn down. */
async function tearDown(): Promise<void> {
  const each = await connectClient(url);
  const names = ['hang', 'hang', 'poll', 'poll', 'poll'];
  const calls = names.map((name) => each.client.callTool({ name }).catch(() => 'rejected'));
  await new Promise((resolve) => setTimeout(resolve, 150));
  await each.close();
  console.log(...(await Promise.all(calls)));
}

/** A GET that the governor holds back, and nothing else to do. */
async function holdBack(): Promise<void> {
  const fence = createFence();
  await (await fence.fetch(url, events)).text();
  void fence.fetch(url, events).then(() => console.log('went'));
  console.log('held');
}

/** The last thing the process does is to wait for an answer. */
async function waitForAnswer(): Promise<void> {
  const fence = createFence();
  const answer = await fence.fetch(url, { method: 'POST', body: '{"method":"slow","id":1}' });
  console.log(await answer.text());
}

if (scenario === 'tear-down') await tearDown();
if (scenario === 'hold-back') await holdBack();
if (scenario === 'answer') await waitForAnswer();
