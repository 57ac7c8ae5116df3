import { expect, test } from 'vitest';
import { Inbox } from '../../src/http/inbox.ts';
import { notification } from '../support/transport-fixture.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('what waits is handed on in order, in time in proportion to how much it is', async () => {
  const seen: unknown[] = [];
  const inbox = new Inbox((message) => seen.push('id' in message && message.id));
  // As many as a batch within the default bound holds: 40 bytes each.
  const count = 400_000;
  const before = process.cpuUsage();
  for (let id = 0; id < count; id += 1) inbox.push({ ...notification(), id } as never, undefined);
  await turn();
  const { user, system } = process.cpuUsage(before);
  expect(seen).toEqual(Array.from({ length: count }, (_, id) => id));
  // 0.1 s. Were it the square of the count, minutes, in one turn of the event loop.
  expect((user + system) / 1_000).toBeLessThan(5_000);
});

test('what is pushed by whoever takes a message is handed on after what waits', async () => {
  const seen: string[] = [];
  const inbox = new Inbox((message) => {
    const { method } = message as { method: string };
    seen.push(method);
    if (method === 'a') inbox.push(notification('d'), undefined);
  });
  for (const method of ['a', 'b', 'c']) inbox.push(notification(method), undefined);
  await turn();
  inbox.push(notification('e'), undefined);
  expect(seen).toEqual(['a', 'd', 'b', 'c', 'e']);
});
