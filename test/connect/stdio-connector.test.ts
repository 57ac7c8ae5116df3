// The connector of servers over stdio, called as the pool calls it.

import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { expect, test } from 'vitest';
import type { Connection } from '../../src/connect/connector.ts';
import { lentShared } from '../../src/connect/sdk-1.ts';
import { createStdioConnector } from '../../src/connect/stdio-connector.ts';
import type { SessionTarget } from '../../src/target.ts';
import { describeConnection } from '../support/connection-contract.ts';
import { until } from '../support/raw-server.ts';
import { testSettings } from '../support/session-settings.ts';
import { useStdioLab } from '../support/stdio-lab.ts';

const lab = useStdioLab();

function open(target: SessionTarget, signal = new AbortController().signal): Promise<Connection> {
  const settings = testSettings(target);
  const connect = createStdioConnector(lentShared());
  return connect(target, { signal, key: 'key-1', settings, headers: () => ({}) });
}

describeConnection<Client>('a server over stdio', async () => ({
  connection: await open(lab.target()),
  call: (client) => client.callTool({ name: 'pid' }),
  settle: () => Promise.resolve(),
  dispose: () => until(() => lab.processes().length === 0),
}));

test('severing a session kills its server, and all that it started, whatever they ignore', async () => {
  const session = await open(lab.target('ignore-eof', 'ignore-sigterm', 'grandchild-at-start'));
  await until(() => lab.processes().length === 2);
  session.sever?.(new Error('no time left'));
  await until(() => lab.processes().length === 0);
});

test('an open that is given up before it begins, or as it begins, starts nothing that stays', async () => {
  const before = AbortSignal.abort(new Error('before'));
  await expect(open(lab.target(), before)).rejects.toThrow('before');
  const controller = new AbortController();
  const opening = open(lab.target('ignore-eof'), controller.signal);
  controller.abort(new Error('as it began'));
  await expect(opening).rejects.toThrow('as it began');
  expect(lab.processes()).toEqual([]);
});

test('a target of another kind is refused', async () => {
  await expect(open({ url: 'http://127.0.0.1:9/mcp' })).rejects.toThrow(TypeError);
});
