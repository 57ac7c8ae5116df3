// Sessions that were given one provider: they share its flows, for two would use up one refresh
// token, and what flows came to. Against a real OAuth server.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Authorization } from '../../src/http/authorization.ts';
import { ProviderFlowsMap } from '../../src/http/provider-flows.ts';
import { AuthorizationLab, ChallengedRequest, codeOf } from '../support/authorization-lab.ts';
import { MemoryOAuthProvider } from '../support/memory-oauth-provider.ts';
import { pause, until } from '../support/raw-server.ts';

let lab: AuthorizationLab;
let map: ProviderFlowsMap;
/** Authorizations of two sessions. */
let one: Authorization;
let two: Authorization;

beforeEach(async () => {
  lab = await AuthorizationLab.start();
  map = new ProviderFlowsMap();
  one = session();
  two = session();
});
afterEach(async () => {
  one.close();
  two.close();
  await lab.close();
});

const session = (): Authorization => lab.another(lab.provider, map.of(lab.provider));
const requestOf = (
  authorization: Authorization,
  header: string | undefined = 'Bearer old',
): ChallengedRequest => new ChallengedRequest(authorization, header);
const isHeld = (): boolean => lab.server.mostTokensAtOnce > 0;

describe('sessions of one provider', () => {
  test('run one flow for 401s on all of them', async () => {
    lab.server.mode = 'held';
    const refused = Array.from({ length: 20 }, (_, n) => requestOf(n % 2 ? one : two).refused());
    await until(isHeld);
    refused.push(requestOf(session()).refused());
    await pause(10);
    lab.server.letGo();
    expect(new Set(await Promise.all(refused))).toEqual(new Set([true]));
    expect(lab.server.tokenRequests).toHaveLength(1);
  });

  test('run flows for other challenges one after the other', async () => {
    const outcomes = [requestOf(one).refused(), requestOf(two).forbidden()];
    expect(await Promise.all(outcomes)).toEqual([true, true]);
    expect(lab.server.tokenRequests).toHaveLength(2);
    expect(lab.provider.invalidated).toEqual([]);
  });

  test('run no flow for a token that another of them has replaced', async () => {
    expect(await requestOf(one).refused()).toBe(true);
    expect(await requestOf(two).refused()).toBe(true);
    expect(lab.server.tokenRequests).toHaveLength(1);
  });

  test('all pause after a token fresh from a flow was refused to one of them', async () => {
    const refused = requestOf(one);
    await refused.refused();
    await (await refused.again()).refused();
    const fresh = `Bearer ${lab.server.tokens.access_token}`;
    expect(await requestOf(two, fresh).refused()).toBe(false);
    expect(await requestOf(session(), fresh).refused()).toBe(false);
    expect(lab.server.tokenRequests).toHaveLength(1);
  });

  test('step up once for all, and not again for 30 min where it did not help', async () => {
    expect(await requestOf(one).forbidden()).toBe(true);
    expect(await requestOf(two).forbidden()).toBe(true);
    const gained = `Bearer ${lab.server.tokens.access_token}`;
    expect(await requestOf(two, gained).forbidden()).toBe(false);
    expect(await requestOf(one, gained).forbidden()).toBe(false);
    expect(lab.server.tokenRequests).toHaveLength(1);
    lab.provider.give({ ...lab.provider.current, access_token: 'later' });
    lab.clock.burn(1_799_999);
    expect(await requestOf(one, 'Bearer later').forbidden()).toBe(false);
    lab.clock.burn(1);
    expect(await requestOf(one, 'Bearer later').forbidden()).toBe(true);
    expect(lab.server.tokenRequests).toHaveLength(2);
  });

  test('all hear of a flow that failed, and none begins another for 5 s', async () => {
    lab.server.revoke();
    const failure = await requestOf(one)
      .refused()
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ message: 'Unauthorized' });
    await expect(requestOf(two).refused()).rejects.toBe(failure);
    await expect(new ChallengedRequest(two, undefined).refused()).rejects.toBe(failure);
    expect(lab.provider.redirects).toHaveLength(1);
    lab.clock.burn(5_000);
    await expect(requestOf(two).refused()).rejects.toThrow('Unauthorized');
    expect(lab.provider.redirects).toHaveLength(2);
  });

  test('share nothing with those of another provider', async () => {
    lab.server.mode = 'held';
    const { refresh_token } = lab.server.tokens;
    const other = new MemoryOAuthProvider({ refresh_token, issuer: lab.server.url.origin });
    const three = lab.another(other, map.of(other));
    const outcomes = [requestOf(one).refused(), requestOf(three).refused()];
    for (const outcome of outcomes) outcome.catch(() => {});
    await until(() => lab.server.mostTokensAtOnce === 2);
    lab.server.letGo();
    await Promise.allSettled(outcomes);
    three.close();
  });
});

describe('the end of the session that began a flow', () => {
  test('rejects its own requests at once, and the flow goes on for the others', async () => {
    lab.server.mode = 'held';
    const own = codeOf(requestOf(one).refused());
    const others = requestOf(two).refused();
    await until(isHeld);
    one.close();
    expect(await own).toBe('SESSION_LOST');
    lab.server.letGo();
    expect(await others).toBe(true);
    expect(lab.server.tokenRequests).toHaveLength(1);
    expect(lab.provider.current?.access_token).toBe(lab.server.tokens.access_token);
  });

  test('burns no refresh token while another session of the provider lives', async () => {
    lab.server.mode = 'held';
    const own = codeOf(requestOf(one).refused());
    await until(isHeld);
    one.close();
    expect(await own).toBe('SESSION_LOST');
    lab.server.letGo();
    await until(() => lab.provider.current?.access_token === lab.server.tokens.access_token);
    await until(() => lab.clock.pendingCount === 0);
  });

  test('ends the flow when no other session of the provider lives', async () => {
    lab.server.mode = 'held';
    const codes = [one, two].map((each) => codeOf(requestOf(each).refused()));
    await until(isHeld);
    one.close();
    await pause(10);
    expect(lab.server.pending).toBe(1);
    two.close();
    expect(lab.clock.pendingCount).toBe(1);
    expect(await Promise.all(codes)).toEqual(['SESSION_LOST', 'SESSION_LOST']);
    await until(() => lab.server.pending === 0);
    expect(lab.clock.pendingCount).toBe(0);
    expect(lab.provider.redirects).toEqual([]);
  });

  test('lets none of its requests begin another flow later', async () => {
    lab.server.mode = 'held';
    const first = requestOf(one).refused();
    await until(isHeld);
    const waiting = codeOf(requestOf(two).forbidden());
    await pause(5);
    two.close();
    expect(await waiting).toBe('SESSION_LOST');
    lab.server.letGo();
    expect(await first).toBe(true);
    await pause(20);
    expect(lab.server.tokenRequests).toHaveLength(1);
  });
});

test('the flows of a provider are found again while somebody holds the provider', () => {
  const other = new MemoryOAuthProvider();
  expect(map.of(other)).toBe(map.of(other));
  expect(map.of(other)).not.toBe(map.of(lab.provider));
});
