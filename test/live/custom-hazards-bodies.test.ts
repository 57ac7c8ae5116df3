// Pools over the SDK's Streamable HTTP transport and a fetch of the user's that ignores aborts, and
// whose bodies never settle a cancel and are held by somebody else: what a close leaves of it.

import { setImmediate as turn } from 'node:timers/promises';
import { SessionPool } from 'mcp-session-pool';
import { deafFetch } from 'mcp-session-pool/testing';
import { expect, test } from 'vitest';
import { countedTarget } from '../support/custom-targets.ts';
import { eventOf, pause, until } from '../support/raw-server.ts';

const URL_OF_NOBODY = new URL('http://127.0.0.1:1/mcp');

async function collectGarbage(): Promise<void> {
  for (let round = 0; round < 4; round += 1) {
    await turn();
    (globalThis as { gc?: () => void }).gc?.();
  }
}

// Row 2b.
test('transports and clients are collected though their bodies are held by somebody else', async (context) => {
  const SESSIONS = 100;
  const held: unknown[] = [];
  const hung = (signal: AbortSignal): ReadableStream<Uint8Array> =>
    new ReadableStream({
      start: (controller) => void held.push(controller, signal),
      cancel: () => new Promise(() => {}),
    });
  const fetch = deafFetch({ GET: hung, 'tools/call': hung });
  const { target, transports } = countedTarget(context, URL_OF_NOBODY, { fetch });
  const references: WeakRef<object>[] = [];
  const codes: unknown[] = [];
  const openAndClose = async (): Promise<void> => {
    const pool = new SessionPool({ closeTimeoutMs: 2_000 });
    const lease = await pool.acquire(target);
    references.push(new WeakRef(lease), new WeakRef(lease.client));
    const call = lease.client.callTool({ name: 'hang' }).catch(({ code }) => codes.push(code));
    await turn();
    expect(await pool.close()).toMatchObject({ sessions: 1, closed: 1 });
    await call;
    references.push(new WeakRef(transports.pop() as object));
  };
  for (let n = 0; n < SESSIONS; n += 1) await openAndClose();
  expect(codes).toEqual(Array(SESSIONS).fill('SESSION_LOST'));
  // A stream for the GET and one for the call, and each with its signal.
  expect(held).toHaveLength(4 * SESSIONS);
  await collectGarbage();
  expect(references).toHaveLength(3 * SESSIONS);
  const alive = references.filter((reference) => reference.deref() !== undefined);
  expect(alive.length).toBeLessThan(10);
});

/** A stream of sampling requests, one in a turn of the event loop. */
function flood(state: { isOn: boolean; pulled: number }): ReadableStream<Uint8Array> {
  return new ReadableStream({
    pull: async (controller) => {
      await turn();
      state.pulled += 1;
      const params = { messages: [], maxTokens: 1 };
      const message = {
        jsonrpc: '2.0',
        id: state.pulled,
        method: 'sampling/createMessage',
        params,
      };
      if (state.isOn) controller.enqueue(new TextEncoder().encode(eventOf(message)));
      else controller.close();
    },
  });
}

// Row 10b.
test('no handler runs and no byte is read after the close of a pool that was flooded', async (context) => {
  const state = { isOn: true, pulled: 0 };
  const fetch = deafFetch({ GET: () => flood(state) });
  const { target } = countedTarget(context, URL_OF_NOBODY, { fetch });
  const pool = new SessionPool({ capabilities: { sampling: {} }, closeTimeoutMs: 2_000 });
  let handled = 0;
  await pool.acquire(target, {
    onRequest: () => {
      handled += 1;
      return { model: 'm', role: 'assistant', content: { type: 'text', text: '' } };
    },
  });
  await until(() => handled > 20);
  expect(await pool.close()).toMatchObject({ sessions: 1, closed: 1 });
  const [handledAtClose, pulledAtClose] = [handled, state.pulled];
  await pause(200);
  state.isOn = false;
  expect(handled).toBe(handledAtClose);
  // What a stream reads ahead.
  expect(state.pulled - pulledAtClose).toBeLessThan(3);
});

// Promise P3: what a server streams into an idle session has a bound.
test('a session that is flooded while nobody leases it is lost, and the flood ends', async (context) => {
  const state = { isOn: true, pulled: 0 };
  const fetch = deafFetch({ GET: () => flood(state) });
  const { target } = countedTarget(context, URL_OF_NOBODY, { fetch });
  const pool = new SessionPool({ closeTimeoutMs: 2_000 });
  (await pool.acquire(target)).release();
  await until(() => pool.stats().totals.closed === 1);
  const pulled = state.pulled;
  expect(pulled).toBeGreaterThan(1_000);
  await pause(100);
  state.isOn = false;
  expect(state.pulled - pulled).toBeLessThan(3);
  await pool.close();
});
