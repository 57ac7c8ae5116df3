// What tests of the circuit breaker start from: targets of one endpoint, and how to open its circuit.

import { expect } from 'vitest';
import type { HttpTarget } from '../../src/target.ts';
import { type PoolFixture, targetOf, watch } from './pool-fixture.ts';

export const RESET_MS = 10_000;
export const breaker: { failureThreshold: number; resetAfterMs: number } = {
  failureThreshold: 3,
  resetAfterMs: RESET_MS,
};
export const as = (identity: string, more: Partial<HttpTarget> = {}): HttpTarget =>
  targetOf('one', { identity, ...more });
export const ADA: HttpTarget = as('ada');
export const BOB: HttpTarget = as('bob');
/** Of another server. */
export const OTHER: HttpTarget = targetOf('two', { identity: 'ada' });

export const httpError = (status: number, retryAfterMs?: number): Error =>
  Object.assign(new Error('the server refuses'), { status, retryAfterMs });

/** Opens of `ADA` fail until the circuit of the endpoint opens. All are rejected by then. */
export async function trip(
  { pool, clock, connector }: PoolFixture,
  target: HttpTarget = ADA,
): Promise<void> {
  const { gates } = connector;
  connector.gates = { open: 'fails' };
  for (let count = 0; count < breaker.failureThreshold; count += 1) {
    const failed = watch(pool.acquire(target));
    await clock.advance(1_000);
    expect(failed.code).toBe('OPEN_FAILED');
  }
  connector.gates = gates;
}
