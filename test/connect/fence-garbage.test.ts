// What stays after the teardown of sessions whose bodies ignore aborts, never settle a cancel, and
// are held by somebody else (rows 2b and 10b of the hazards). The bare SDK is the counter-proof.

import { setImmediate as turn } from 'node:timers/promises';
import { CreateMessageRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { deafFetch } from 'mcp-session-pool/testing';
import { describe, expect, test } from 'vitest';
import { connectClient, type FencedClient } from '../support/fenced-client.ts';
import { eventOf, until } from '../support/raw-server.ts';

const collectGarbage = async (): Promise<void> => {
  for (let round = 0; round < 4; round += 1) {
    await turn();
    (globalThis as { gc?: () => void }).gc?.();
  }
};

describe('row 2b: bodies that never end, held by somebody else', () => {
  /** Opens and closes sessions; how many transports and clients are alive after it. */
  async function closeAll(
    fenced: boolean,
    sessions: number,
  ): Promise<{ alive: number; held: number }> {
    const held: unknown[] = [];
    const references: WeakRef<object>[] = [];
    const hung = (signal: AbortSignal): ReadableStream<Uint8Array> =>
      new ReadableStream({
        start: (controller) => void held.push(controller, signal),
        cancel: () => new Promise(() => {}),
      });
    for (let n = 0; n < sessions; n += 1) {
      const fetch = deafFetch({ GET: hung, 'tools/call': hung });
      const each = await connectClient(new URL('http://127.0.0.1:1/mcp'), { fenced, fetch });
      const call = each.client.callTool({ name: 'hang' }).catch(() => 'rejected');
      await turn();
      await each.close();
      expect(await call).toBe('rejected');
      references.push(new WeakRef(each.client), new WeakRef(each.transport));
    }
    await collectGarbage();
    const alive = references.filter((reference) => reference.deref() !== undefined).length;
    return { alive, held: held.length / 2 };
  }

  test('keep closed clients and transports of the bare SDK alive', async () => {
    const { alive, held } = await closeAll(false, 50);
    expect(held).toBe(100);
    expect(alive).toBeGreaterThan(90);
  });

  test('keep next to none alive behind the fence', async () => {
    const { alive, held } = await closeAll(true, 200);
    expect(held).toBe(400);
    expect(alive).toBeLessThan(10);
  });

  test('keep no reader of a cancelled call alive', async () => {
    const held: unknown[] = [];
    const hung = (signal: AbortSignal): ReadableStream<Uint8Array> =>
      new ReadableStream({ start: (controller) => void held.push(controller, signal) });
    const fetch = deafFetch({ 'tools/call': hung });
    const url = new URL('http://127.0.0.1:1/mcp');
    const { fence, close } = await connectClient(url, { fetch, limit: 1_000 });
    const post = (message: object) =>
      fence?.fetch(url, { method: 'POST', body: JSON.stringify(message) });
    const readings: WeakRef<object>[] = [];
    for (let id = 100; id < 150; id += 1) {
      const answer = await post({ method: 'tools/call', params: {}, jsonrpc: '2.0', id });
      readings.push(new WeakRef(answer?.text() as object));
      await post({ method: 'notifications/cancelled', params: { requestId: id } });
    }
    await collectGarbage();
    expect(held).toHaveLength(100);
    expect(readings.filter((reading) => reading.deref() !== undefined).length).toBeLessThan(3);
    await close();
  });
});

describe('row 10b: a flood over a fetch that ignores aborts', () => {
  /** Closes in the middle of a flood of sampling requests; how many were handled after it. */
  async function handledAfterClose(fenced: boolean): Promise<number> {
    let isFlooding = true;
    let id = 0;
    let handled = 0;
    const flood = (): ReadableStream<Uint8Array> =>
      new ReadableStream({
        pull: async (controller) => {
          await turn();
          id += 1;
          const params = { messages: [], maxTokens: 1 };
          const message = { jsonrpc: '2.0', id, method: 'sampling/createMessage', params };
          if (isFlooding) controller.enqueue(new TextEncoder().encode(eventOf(message)));
          else controller.close();
        },
      });
    const fetch = deafFetch({ GET: flood });
    const url = new URL('http://127.0.0.1:1/mcp');
    const each: FencedClient = await connectClient(url, {
      fenced,
      fetch,
      connect: false,
      limit: 1e6,
    });
    each.client.registerCapabilities({ sampling: {} });
    each.client.setRequestHandler(CreateMessageRequestSchema, () => {
      handled += 1;
      return { model: 'm', role: 'assistant', content: { type: 'text', text: '' } };
    });
    await each.client.connect(each.transport);
    await until(() => handled > 20);
    await each.close();
    const atClose = handled;
    for (let n = 0; n < 200; n += 1) await turn();
    isFlooding = false;
    return handled - atClose;
  }

  test('goes on into the handlers of a closed client of the bare SDK', async () => {
    expect(await handledAfterClose(false)).toBeGreaterThan(20);
  });

  test('ends with the teardown behind the fence', async () => {
    expect(await handledAfterClose(true)).toBe(0);
  });
});
