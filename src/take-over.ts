// Takes a connection over from a connector: checks it once, and wraps it so that the pool reads no
// member of a foreign object afterwards but inside the call that may fail. A getter that throws in
// the middle of a teardown would otherwise stop it, and the closing of a pool with it.

import type { Connection } from './connect/connector.ts';

/** @throws TypeError unless `connection` has the members that the pool can't do without. */
export function takeOver<C>(connection: Connection<C>): Connection<C> {
  try {
    return wrap(connection);
  } catch (error) {
    closeWhatCame(connection);
    throw error;
  }
}

function wrap<C>(of: Connection<C>): Connection<C> {
  const { client, transport, lost } = Object(of) as Connection<C>;
  for (const [name, part] of Object.entries({ client, transport })) {
    if (typeof (part as { close?: unknown } | undefined)?.close !== 'function') {
      throw new TypeError(`Expected the connector to give a \`${name}\` with a \`close\` method`);
    }
  }
  if (lost !== undefined && !isSignal(lost)) {
    throw new TypeError('Expected the connector to give a `lost` that is an AbortSignal');
  }
  return {
    client,
    transport,
    lost,
    get sessionId() {
      return of.sessionId;
    },
    ...(of.lend && { lend: (lease) => of.lend?.(lease) as C }),
    ...(of.giveBack && { giveBack: (lent) => of.giveBack?.(lent) ?? 'clean' }),
    ...(of.replayOf && { replayOf: (lent, cause) => of.replayOf?.(lent, cause) ?? 'never' }),
    ...(of.probe && { probe: async (signal) => of.probe?.(signal) }),
    ...(of.fence && { fence: (reason) => of.fence?.(reason) }),
    ...(of.terminate && { terminate: async (signal) => of.terminate?.(signal) }),
    ...(of.sever && { sever: (reason) => of.sever?.(reason) }),
  };
}

/** By structure: a signal may come from another realm. */
export const isSignal = (value: unknown): value is AbortSignal =>
  typeof value === 'object' &&
  value !== null &&
  'aborted' in value &&
  ['addEventListener', 'removeEventListener'].every(
    (name) => typeof (value as Record<string, unknown>)[name] === 'function',
  );

/** A connection that can't be used is closed as far as it goes: it may hold a socket. */
function closeWhatCame(connection: unknown): void {
  for (const name of ['client', 'transport'] as const) {
    const close = async (): Promise<void> => (connection as Connection<unknown>)[name].close();
    // Whatever is wrong with it has been said: the open fails with that.
    close().catch(() => undefined);
  }
}
