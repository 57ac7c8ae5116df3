// When Authorization runs a flow, against a real OAuth server: one for all who need it, none for
// those whom it would not help.

import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AuthorizationLab, INSUFFICIENT } from '../support/authorization-lab.ts';
import { pause, until } from '../support/raw-server.ts';

const FUTILE_PAUSE_MS = 30_000;

let lab: AuthorizationLab;
beforeEach(async () => {
  lab = await AuthorizationLab.start();
});
afterEach(() => lab.close());

describe('header', () => {
  test('is the provider’s token of this very moment', async () => {
    expect(await lab.authorization.header()).toBe('Bearer old');
    lab.provider.give({ access_token: 'new' });
    expect(await lab.authorization.header()).toBe('Bearer new');
    lab.provider.give(undefined);
    expect(await lab.authorization.header()).toBeUndefined();
    expect(lab.provider.asked).toBe(3);
    expect(lab.server.paths).toEqual([]);
  });

  test('rejects with what the provider throws, now or later', async () => {
    const trouble = new Error('locked');
    lab.provider.before.tokens = () => {
      throw trouble;
    };
    await expect(lab.authorization.header()).rejects.toBe(trouble);
    lab.provider.before.tokens = () => Promise.reject(trouble);
    await expect(lab.authorization.header()).rejects.toBe(trouble);
  });
});

test.each(['authorization', 'authorization-flow'])(
  '%s.ts loads the SDK’s OAuth for a challenge, not before',
  (name) => {
    const text = readFileSync(new URL(`../../src/http/${name}.ts`, import.meta.url), 'utf8');
    expect(text).toMatch(/^import type [^;]*\/auth\.js/m);
    expect(text).not.toMatch(/^import (?!type)[^;]*\/auth\.js/m);
  },
);

describe('a 401', () => {
  test('leads to a new token, and the request is to be sent once more', async () => {
    expect(await lab.request().refused()).toBe(true);
    expect(await lab.authorization.header()).toBe(`Bearer ${lab.server.tokens.access_token}`);
    expect(lab.server.tokenRequests).toHaveLength(1);
    expect(lab.server.tokenRequests[0]?.get('grant_type')).toBe('refresh_token');
    expect(lab.server.tokenRequests[0]?.get('resource')).toBe(lab.server.url.href);
    // The token that was refused goes nowhere else (A1).
    expect(lab.server.headerNames).not.toContain('authorization');
  });

  test('on many requests at once leads to one flow', async () => {
    lab.server.mode = 'held';
    const outcomes = Array.from({ length: 50 }, () => lab.request().refused());
    await until(() => lab.server.tokenRequests.length > 0);
    outcomes.push(lab.request().refused());
    await pause(10);
    lab.server.letGo();
    expect(new Set(await Promise.all(outcomes))).toEqual(new Set([true]));
    expect(lab.server.tokenRequests).toHaveLength(1);
  });

  test('for a token that has been replaced meanwhile leads to no flow', async () => {
    lab.provider.give({ access_token: 'new' });
    expect(await lab.request().refused()).toBe(true);
    expect(await lab.sent('Basic of:another').refused()).toBe(true);
    expect(lab.server.paths).toEqual([]);
  });

  test('for an older token, while a flow runs, waits for it and runs none', async () => {
    lab.server.mode = 'held';
    const first = lab.request().refused();
    await until(() => lab.server.tokenRequests.length > 0);
    const older = lab.sent('Bearer older').refused();
    lab.server.letGo();
    expect(await Promise.all([first, older])).toEqual([true, true]);
    expect(lab.server.tokenRequests).toHaveLength(1);
  });

  test('a second time on one request leads to nothing', async () => {
    const refused = lab.request();
    expect(await refused.refused()).toBe(true);
    expect(await (await refused.again()).refused()).toBe(false);
    expect(lab.server.tokenRequests).toHaveLength(1);
  });

  test('for tokens fresh from a flow pauses flows for 30 s', async () => {
    const refused = lab.request();
    await refused.refused();
    await (await refused.again()).refused();
    const later = async () => (await lab.sentNow()).refused();
    for (let n = 0; n < 10; n += 1) expect(await later()).toBe(false);
    lab.clock.burn(FUTILE_PAUSE_MS - 1);
    expect(await later()).toBe(false);
    expect(await (await lab.sentNow()).forbidden()).toBe(false);
    expect(lab.server.tokenRequests).toHaveLength(1);
    lab.clock.burn(1);
    expect(await later()).toBe(true);
    expect(lab.server.tokenRequests).toHaveLength(2);
  });

  test('for a token that came from elsewhere pauses no flows', async () => {
    const refused = lab.request();
    lab.provider.give({ ...lab.provider.current, access_token: 'stale' });
    expect(await refused.refused()).toBe(true);
    expect(await (await refused.again()).refused()).toBe(false);
    expect(await (await lab.sentNow()).refused()).toBe(true);
    expect(lab.server.tokenRequests).toHaveLength(1);
  });

  test('for credentials of the caller’s, while there is no token, leads to a flow', async () => {
    lab.provider.give(undefined);
    await expect(lab.sent('Basic of:own').refused()).rejects.toThrow('Unauthorized');
    expect(lab.provider.redirects).toHaveLength(1);
  });

  test('without any token pauses no flows', async () => {
    lab.provider.give({ ...lab.provider.current, access_token: 'other' });
    const refused = lab.sent(undefined);
    expect(await refused.refused()).toBe(true);
    expect(await refused.refused()).toBe(false);
    expect(await lab.sent('Bearer other').refused()).toBe(true);
  });

  test('that asks for a sign-in rejects all with UnauthorizedError', async () => {
    lab.provider.give({ access_token: 'old' });
    const challenge = 'Bearer scope="files:read"';
    const outcomes = await Promise.allSettled([
      lab.request().refused(challenge),
      lab.request().refused(challenge),
    ]);
    const { UnauthorizedError } = await import('@modelcontextprotocol/sdk/client/auth.js');
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ reason: expect.any(UnauthorizedError) });
    }
    expect(lab.provider.redirects).toHaveLength(1);
    expect(lab.provider.redirects[0]?.searchParams.get('scope')).toBe('files:read');
  });

  test('with a refresh token that is revoked makes the provider forget it', async () => {
    lab.server.revoke();
    await expect(lab.request().refused()).rejects.toThrow('Unauthorized');
    expect(lab.provider.invalidated).toEqual(['tokens']);
    expect(lab.provider.redirects).toHaveLength(1);
    // The SDK tries once more by itself, now without tokens.
    expect(lab.server.tokenRequests).toHaveLength(1);
  });

  test('with a client that is refused makes the provider forget all', async () => {
    lab.server.mode = 'insolent';
    await expect(lab.request().refused()).rejects.toThrow('Unauthorized');
    expect(lab.provider.invalidated).toEqual(['all']);
  });

  test('after a flow that failed leads to another flow, 5 s later', async () => {
    lab.server.mode = 'broken';
    const failure = await lab
      .request()
      .refused()
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ message: 'Unauthorized' });
    lab.server.mode = 'good';
    lab.clock.burn(4_999);
    await expect(lab.request().refused()).rejects.toBe(failure);
    expect([lab.server.tokenRequests.length, lab.provider.redirects.length]).toEqual([1, 1]);
    // For want of scope is another matter.
    expect(await lab.request().forbidden()).toBe(true);
    lab.provider.give({ ...lab.provider.current, access_token: 'old' });
    lab.clock.burn(1);
    expect(await lab.request().refused()).toBe(true);
    expect(lab.server.tokenRequests).toHaveLength(3);
  });

  test('after a flow that failed leads to no other flow once there are tokens', async () => {
    lab.server.revoke();
    await expect(lab.request().refused()).rejects.toThrow('Unauthorized');
    // It was sent without a token, for the provider had to forget them.
    await expect(lab.sent(undefined).refused()).rejects.toThrow('Unauthorized');
    const issuer = lab.server.url.origin;
    lab.provider.give({ ...lab.server.tokens, access_token: 'new', issuer });
    expect(await lab.sent(undefined).refused()).toBe(true);
    expect(lab.server.tokenRequests).toHaveLength(1);
    // And one that expires is refreshed at once.
    expect(await lab.sent('Bearer new').refused()).toBe(true);
    expect([lab.server.tokenRequests.length, lab.provider.redirects.length]).toEqual([2, 1]);
  });

  test('with the provider’s own error rejects with that', async () => {
    const trouble = new Error('the disk is full');
    lab.provider.before.saveTokens = () => {
      throw trouble;
    };
    lab.provider.before.redirectToAuthorization = () => {
      throw trouble;
    };
    await expect(lab.request().refused()).rejects.toBe(trouble);
  });

  test('says where the metadata is, and flows look there', async () => {
    const elsewhere = `Bearer resource_metadata="${lab.server.url.origin}/elsewhere"`;
    expect(await lab.request().refused(elsewhere)).toBe(true);
    expect(lab.server.paths).toContain('/elsewhere');
    expect(lab.server.paths).not.toContain('/.well-known/oauth-protected-resource/mcp');
  });

  test('with a challenge of any characters, or none, is a 401 all the same', async () => {
    expect(await lab.request().refused('Bearer realm="漢\u0001\u007F", scope=x')).toBe(true);
    expect(await lab.sent('x').refused()).toBe(true);
  });
});

test('a status other than 401 and 403 leads to nothing', async () => {
  expect(await lab.request().answered(400, INSUFFICIENT)).toBe(false);
  expect(lab.server.paths).toEqual([]);
});

describe('a 403', () => {
  test('for want of scope leads to a flow, once per request', async () => {
    const forbidden = lab.request();
    expect(await forbidden.forbidden()).toBe(true);
    await forbidden.again();
    expect(forbidden.sent).toBe(`Bearer ${lab.server.tokens.access_token}`);
    expect(await forbidden.forbidden(`${INSUFFICIENT}, realm="other"`)).toBe(false);
    expect(lab.server.tokenRequests).toHaveLength(1);
  });

  test('for anything else leads to nothing', async () => {
    for (const challenge of ['', 'Bearer', 'Bearer error="invalid_token"', 'Basic realm="x"']) {
      expect(await lab.request().forbidden(challenge)).toBe(false);
    }
    expect(lab.server.paths).toEqual([]);
  });

  test('asks for the scope it names, where the user signs in', async () => {
    lab.provider.give({ access_token: 'old' });
    await expect(lab.request().forbidden()).rejects.toThrow('Unauthorized');
    expect(lab.provider.redirects[0]?.searchParams.get('scope')).toBe('files:write');
  });

  test('asks for what was granted before too: who signs in anew would lose it', async () => {
    lab.provider.give({ access_token: 'old', scope: 'files:read profile' });
    await expect(lab.request().forbidden()).rejects.toThrow('Unauthorized');
    const asked = lab.provider.redirects.map((url) => url.searchParams.get('scope'));
    expect(asked).toEqual(['files:read profile files:write']);
  });

  test('asks for what the session was told before too, once each', async () => {
    lab.provider.give({ access_token: 'old' });
    const told = 'Bearer scope="files:read files:write"';
    await expect(lab.request().refused(told)).rejects.toThrow('Unauthorized');
    await expect(lab.request().forbidden()).rejects.toThrow('Unauthorized');
    const asked = lab.provider.redirects.map((url) => url.searchParams.get('scope'));
    expect(asked).toEqual(['files:read files:write', 'files:read files:write']);
  });

  test('says where the metadata is, and flows look there', async () => {
    const elsewhere = `${INSUFFICIENT}, resource_metadata="${lab.server.url.origin}/elsewhere"`;
    expect(await lab.request().forbidden(elsewhere)).toBe(true);
    expect(lab.server.paths).toContain('/elsewhere');
  });

  test('is read among several challenges', async () => {
    expect(await lab.request().forbidden(['Basic realm="x"', INSUFFICIENT])).toBe(true);
  });

  test('on many requests at once leads to one flow per challenge, one after the other', async () => {
    lab.server.mode = 'held';
    const other = INSUFFICIENT.replace('write', 'delete');
    const outcomes = [
      lab.request().forbidden(),
      lab.request().forbidden(),
      lab.request().forbidden(other),
    ];
    let isOver = false;
    const all = Promise.all(outcomes).finally(() => {
      isOver = true;
    });
    while (!isOver) {
      await pause(5);
      lab.server.letGo();
    }
    expect(await all).toEqual([true, true, true]);
    expect(lab.server.tokenRequests).toHaveLength(2);
    expect(lab.server.mostTokensAtOnce).toBe(1);
  });

  test('that another request has stepped up for meanwhile leads to no flow', async () => {
    const [first, second] = [lab.request(), lab.request()];
    expect(await first.forbidden()).toBe(true);
    expect(await second.forbidden()).toBe(true);
    expect(lab.server.tokenRequests).toHaveLength(1);
  });

  test('while a token is refreshed, still leads to a flow of its own', async () => {
    const outcomes = [lab.request().refused(), lab.request().forbidden()];
    expect(await Promise.all(outcomes)).toEqual([true, true]);
    expect(lab.server.tokenRequests).toHaveLength(2);
  });

  test('that came again after stepping up leads to no flow until another one comes', async () => {
    await lab.request().forbidden();
    const later = () => lab.sentNow();
    for (let n = 0; n < 3; n += 1) expect(await (await later()).forbidden()).toBe(false);
    // Neither with the next token.
    expect(await (await later()).refused()).toBe(true);
    expect(await (await later()).forbidden()).toBe(false);
    expect(lab.server.tokenRequests).toHaveLength(2);
    expect(await (await later()).forbidden(`${INSUFFICIENT}, realm="x"`)).toBe(true);
    expect(await (await later()).forbidden()).toBe(true);
    expect(lab.server.tokenRequests).toHaveLength(4);
  });

  test('and a 401 are each answered once on one request', async () => {
    const both = lab.request();
    expect(await both.refused()).toBe(true);
    expect(await (await both.again()).forbidden()).toBe(true);
    expect(await (await both.again()).refused()).toBe(false);
  });
});
