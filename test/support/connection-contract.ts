// What every connection keeps towards the pool, whoever made it: the fakes of these tests and the
// real ones. A test file calls `describeConnection` with a way to open one.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Connection, LeaseContext } from '../../src/connect/connector.ts';

export interface OpenedConnection<C> {
  readonly connection: Connection<C>;
  /** Makes one call through `client`, as far as the peer's answer. */
  readonly call: (client: C) => Promise<unknown>;
  /** Lets time pass so that what is pending settles: a manual clock's turn, or nothing. */
  readonly settle: () => Promise<void>;
  /** Frees what the test holds beside the connection. */
  readonly dispose: () => Promise<void> | void;
}

/** A lease as the pool would describe it, ended by the test. */
class TestLease implements LeaseContext {
  readonly headers = (): Record<string, string> => ({ 'x-lease': 'contract' });
  #error: Error | undefined;
  ends = 0;

  readonly end = (): void => {
    this.ends += 1;
    this.finish();
  };

  readonly endedWith = (): Error | undefined => this.#error;

  finish(): void {
    this.#error ??= new Error('the lease has ended');
  }
}

/** Registers the contract's tests for the connections that `open` gives. */
export function describeConnection<C>(
  name: string,
  open: () => Promise<OpenedConnection<C>>,
): void {
  describe(`the contract of a connection, kept by ${name}`, () => {
    let opened: OpenedConnection<C>;

    beforeEach(async () => {
      opened = await open();
    });

    afterEach(async () => {
      const { connection } = opened;
      connection.sever?.(new Error('the test is over'));
      await opened.dispose();
    });

    test('a fresh connection is not lost', () => {
      expect(opened.connection.lost?.aborted ?? false).toBe(false);
    });

    test('each lease gets a client of its own, usable at once', async () => {
      const { connection, call } = opened;
      const [first, second] = [
        connection.lend?.(new TestLease()),
        connection.lend?.(new TestLease()),
      ];
      expect(first).toBeDefined();
      expect(second).not.toBe(first);
      await expect(call(first as C)).resolves.toBeDefined();
      await expect(call(second as C)).resolves.toBeDefined();
    });

    test('a client that was used for calls alone is given back clean', async () => {
      const { connection, call } = opened;
      const lease = new TestLease();
      const client = connection.lend?.(lease) as C;
      await call(client);
      lease.finish();
      expect(connection.giveBack?.(client) ?? 'clean').toBe('clean');
    });

    test('a client given back calls no more: its calls reject with what the lease says', async () => {
      const { connection, call } = opened;
      const lease = new TestLease();
      const client = connection.lend?.(lease) as C;
      lease.finish();
      connection.giveBack?.(client);
      await expect(call(client)).rejects.toThrow('the lease has ended');
    });

    test('a probe settles well while the peer answers', async () => {
      const probing = opened.connection.probe?.(new AbortController().signal);
      await opened.settle();
      await expect(probing).resolves.toBeUndefined();
    });

    test('the rungs of a teardown settle in order, and sever is synchronous', async () => {
      const { connection, settle } = opened;
      const reason = new Error('taken down');
      expect(connection.fence?.(reason)).toBeUndefined();
      const terminating = connection.terminate?.(new AbortController().signal);
      await settle();
      await expect(Promise.resolve(terminating)).resolves.toBeUndefined();
      const closing = connection.client.close();
      await settle();
      await expect(closing).resolves.toBeUndefined();
      const transportClosing = connection.transport.close();
      await settle();
      await expect(transportClosing).resolves.toBeUndefined();
      expect(connection.sever?.(reason)).toBeUndefined();
    });

    test('a connection that was only fenced and severed leaves nothing behind', async () => {
      const { connection, settle } = opened;
      connection.fence?.(new Error('taken down'));
      connection.sever?.(new Error('taken down'));
      await settle();
      expect(connection.client).toBeDefined();
    });
  });
}
