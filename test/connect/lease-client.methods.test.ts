// Every public member of SDK 1's client, by what a lease's client makes of it: a new version of the
// SDK that brings one more fails here until somebody has looked at it.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { ErrorCode, ResultSchema } from '@modelcontextprotocol/sdk/types.js';
import { expect, test } from 'vitest';
import { type LinkLease, lendOver } from '../support/link-leases.ts';
import { openLink, settle } from '../support/scripted-transport.ts';
import { methodsOf } from '../support/sdk-methods.ts';

type Use = (client: LinkLease['client']) => Promise<unknown>;

/** All that a stream gives. */
async function drain(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const message of stream) {
    const { type, error } = message as { type: string; error?: unknown };
    if (type === 'error') throw error;
  }
}

const ref = { type: 'ref/prompt', name: 'x' } as const;

/** What talks to the server. */
const TALKS: Readonly<Record<string, Use>> = {
  callTool: (client) => client.callTool({ name: 'x' }),
  cancelTask: (client) => client.experimental.tasks.cancelTask('1'),
  complete: (client) => client.complete({ ref, argument: { name: 'a', value: 'b' } }),
  getPrompt: (client) => client.getPrompt({ name: 'x' }),
  getTask: (client) => client.experimental.tasks.getTask('1'),
  getTaskResult: (client) => client.experimental.tasks.getTaskResult('1', ResultSchema),
  listPrompts: (client) => client.listPrompts(),
  listResources: (client) => client.listResources(),
  listResourceTemplates: (client) => client.listResourceTemplates(),
  listTasks: (client) => client.experimental.tasks.listTasks(),
  listTools: (client) => client.listTools(),
  notification: (client) => client.notification({ method: 'notifications/roots/list_changed' }),
  ping: (client) => client.ping(),
  readResource: (client) => client.readResource({ uri: 'x:1' }),
  request: (client) => client.request({ method: 'tools/list' }, ResultSchema),
  requestStream: (client) =>
    drain(client.experimental.tasks.requestStream({ method: 'tools/list' }, ResultSchema)),
  sendRootsListChanged: (client) => client.sendRootsListChanged(),
  setLoggingLevel: (client) => client.setLoggingLevel('info'),
  subscribeResource: (client) => client.subscribeResource({ uri: 'x:1' }),
  unsubscribeResource: (client) => client.unsubscribeResource({ uri: 'x:1' }),
};
/** What has a meaning of its own in a lease. */
const THE_LEASES = ['connect', 'close'];
/** What looks at the client, or changes it, and sends nothing. */
const LOCAL = [
  ...['assertCanSetRequestHandler', 'experimental', 'getInstructions', 'getServerCapabilities'],
  ...['getServerVersion', 'registerCapabilities', 'removeNotificationHandler'],
  ...['removeRequestHandler', 'setNotificationHandler', 'setRequestHandler', 'transport'],
];
/** TypeScript's `protected` and `private`. */
const HIDDEN = [
  ...['assertCapability', 'assertCapabilityForMethod', 'assertNotificationCapability'],
  ...['assertRequestHandlerCapability', 'assertTaskCapability', 'assertTaskHandlerCapability'],
  ...['cacheToolMetadata', 'getToolOutputValidator', 'isToolTask', 'isToolTaskRequired'],
  'requestTaskStore',
];

/** Enough for every method. */
const ANSWER = {
  ...{ content: [], tools: [], prompts: [], resources: [], resourceTemplates: [], messages: [] },
  ...{ contents: [], completion: { values: [] }, tasks: [], taskId: '1', status: 'completed' },
  ...{ ttl: 1, createdAt: '2026-01-01', lastUpdatedAt: '2026-01-01' },
};

/** What is answered with nothing, strictly. */
const EMPTY = /^(ping|logging\/setLevel|resources\/(un)?subscribe)$/;

async function scene() {
  const { upstream, link } = await openLink();
  upstream.onSend = (message) => {
    if (!('id' in message && 'method' in message)) return;
    upstream.answer(message, EMPTY.test(message.method) ? {} : ANSWER);
  };
  return { upstream, link };
}

test('each is known for what it does', () => {
  const known = [...Object.keys(TALKS), ...THE_LEASES, ...LOCAL, ...HIDDEN];
  expect(methodsOf(Client)).toEqual(known.toSorted());
});

test('each works in the turn that its client was lent in', async () => {
  const { upstream, link } = await scene();
  const before = upstream.sent.length;
  for (const [name, use] of Object.entries(TALKS)) {
    const settled = await use(lendOver(link).client).then(
      () => 'done',
      (error: unknown) => error,
    );
    expect([name, settled]).toEqual([name, 'done']);
  }
  expect(upstream.sent.length).toBe(before + Object.keys(TALKS).length);
});

test('each rejects once the lease has ended, and sends nothing', async () => {
  const { upstream, link } = await scene();
  const [unused, used] = [lendOver(link), lendOver(link)];
  await used.client.listTools();
  for (const lease of [unused, used]) lease.release();
  const before = upstream.sent.length;
  for (const { client } of [unused, used]) {
    for (const [name, use] of Object.entries(TALKS)) {
      const reason = await use(client).catch(({ code }) => code);
      // The SDK gives every failure of a stream a code of its own.
      const code = name === 'requestStream' ? ErrorCode.InternalError : 'LEASE_RELEASED';
      expect([name, reason]).toEqual([name, code]);
    }
  }
  await settle();
  expect(upstream.sent).toHaveLength(before);
});
