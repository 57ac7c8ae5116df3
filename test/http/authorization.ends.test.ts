// How flows of Authorization end, against a real OAuth server: in time, with `close`, or with the code
// of a sign-in.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AuthorizationLab, ChallengedRequest, codeOf } from '../support/authorization-lab.ts';
import { pause, until } from '../support/raw-server.ts';

const AUTH_TIMEOUT_MS = 30_000;

let lab: AuthorizationLab;
beforeEach(async () => {
  lab = await AuthorizationLab.start();
});
afterEach(() => lab.close());

describe('a flow', () => {
  test('that takes 30 s is ended: its fetch is aborted, and nobody is sent to sign in', async () => {
    lab.server.mode = 'held';
    const refused = lab.request().refused();
    const code = codeOf(refused);
    await until(() => lab.server.tokenRequests.length > 0);
    expect(lab.clock.referencedCount).toBe(1);
    expect(lab.clock.nextDueMs).toBe(AUTH_TIMEOUT_MS);
    await lab.clock.advance(AUTH_TIMEOUT_MS);
    expect(await code).toBe('TIMEOUT');
    await expect(refused).rejects.toMatchObject({
      message: 'Authorization took more than 30000ms',
      execution: 'not-executed',
      sessionLost: false,
    });
    await until(() => lab.server.pending === 0);
    await pause(10);
    expect(lab.provider.redirects).toEqual([]);
    // The next one starts afresh.
    lab.server.mode = 'good';
    expect(await lab.request().refused()).toBe(true);
  });

  test('whose provider hangs is ended after 30 s, too, and fetches nothing later', async () => {
    let goOn = (): void => {};
    lab.provider.before.tokens = () =>
      new Promise<void>((resolve) => {
        goOn = resolve;
      });
    const code = codeOf(lab.request().refused());
    await until(() => lab.clock.pendingCount === 1);
    await lab.clock.advance(AUTH_TIMEOUT_MS);
    expect(await code).toBe('TIMEOUT');
    goOn();
    await pause(10);
    expect(lab.server.paths).toEqual([]);
  });

  test('leaves no timer and no connection when it is over', async () => {
    await lab.request().refused();
    expect([lab.clock.pendingCount, lab.origins]).toEqual([0, []]);
    lab.server.mode = 'held';
    const ended = codeOf((await lab.sentNow()).refused());
    await until(() => lab.server.mostTokensAtOnce > 0);
    expect(lab.origins).toHaveLength(1);
    lab.authorization.close();
    expect(lab.origins).toEqual([]);
    expect(await ended).toBe('SESSION_LOST');
  });

  test('reads no more than a mebibyte of an answer', async () => {
    lab.server.mode = 'endless';
    await expect(lab.request().refused()).rejects.toThrow('Unauthorized');
    await until(() => lab.server.pending === 0);
  });

  test('works with a provider that is frozen', async () => {
    Object.freeze(lab.provider.before);
    const frozen = Object.freeze({
      redirectUrl: lab.provider.redirectUrl,
      clientMetadata: lab.provider.clientMetadata,
      clientInformation: () => lab.provider.clientInformation(),
      tokens: () => lab.provider.tokens(),
      saveTokens: (tokens: never) => lab.provider.saveTokens(tokens),
      redirectToAuthorization: (url: URL) => lab.provider.redirectToAuthorization(url),
      saveCodeVerifier: (verifier: string) => lab.provider.saveCodeVerifier(verifier),
      codeVerifier: () => lab.provider.codeVerifier(),
    });
    expect(await new ChallengedRequest(lab.another(frozen), 'Bearer old').refused()).toBe(true);
  });
});

describe('close', () => {
  test('ends a flow: its fetch is aborted, all reject, and nobody is sent to sign in', async () => {
    lab.server.mode = 'held';
    const codes = [lab.request().refused(), lab.request().refused(), lab.request().forbidden()].map(
      codeOf,
    );
    await until(() => lab.server.tokenRequests.length > 0);
    lab.authorization.close();
    lab.authorization.close();
    expect(await Promise.all(codes)).toEqual(['SESSION_LOST', 'SESSION_LOST', 'SESSION_LOST']);
    await until(() => lab.server.pending === 0);
    await pause(10);
    expect(lab.provider.redirects).toEqual([]);
    expect(lab.server.tokenRequests).toHaveLength(1);
    expect(lab.clock.pendingCount).toBe(0);
  });

  test('makes every later request reject, and nothing asks the provider', async () => {
    lab.authorization.close();
    expect(await codeOf(lab.authorization.header())).toBe('SESSION_LOST');
    expect(await codeOf(lab.request().refused())).toBe('SESSION_LOST');
    expect(lab.provider.asked).toBe(0);
    expect(lab.server.paths).toEqual([]);
  });

  test('from within the provider ends the flow that asks it', async () => {
    lab.provider.before.tokens = () => lab.authorization.close();
    expect(await codeOf(lab.request().refused())).toBe('SESSION_LOST');
    expect(lab.server.paths).toEqual([]);
  });

  test('during a flow whose provider hangs rejects at once', async () => {
    lab.provider.before.tokens = () => new Promise(() => {});
    const code = codeOf(lab.request().refused());
    await until(() => lab.clock.pendingCount === 1);
    lab.authorization.close();
    expect(await code).toBe('SESSION_LOST');
  });

  test('does not lose tokens that have come', async () => {
    let goOn = (): void => {};
    // The SDK calls it between the token endpoint's answer and `saveTokens`.
    lab.provider.before.saveClientInformation = () =>
      new Promise<void>((resolve) => {
        goOn = resolve;
      });
    const isHeld = () => lab.server.tokenRequests.length > 0 && lab.server.pending === 0;
    const code = codeOf(lab.request().refused());
    await until(isHeld);
    await pause(10);
    lab.authorization.close();
    expect(await code).toBe('SESSION_LOST');
    goOn();
    await until(() => lab.provider.current?.access_token === lab.server.tokens.access_token);
  });
});

describe('finish', () => {
  /** Where the user was sent. */
  const redirected = async (challenge = 'Bearer'): Promise<URL> => {
    lab.provider.give({ access_token: 'old' });
    await expect(lab.request().refused(challenge)).rejects.toThrow('Unauthorized');
    return lab.provider.redirects.at(-1) as URL;
  };

  test('exchanges the code for tokens', async () => {
    const url = await redirected(`Bearer resource_metadata="${lab.server.url.origin}/elsewhere"`);
    await lab.authorization.finish(lab.server.signIn(url));
    expect(await lab.authorization.header()).toBe(`Bearer ${lab.server.tokens.access_token}`);
    expect(lab.server.tokenRequests[0]?.get('grant_type')).toBe('authorization_code');
    // It looks where the challenge said.
    expect(lab.server.paths.filter((path) => path === '/elsewhere')).toHaveLength(2);
    expect(lab.server.paths).not.toContain('/.well-known/oauth-protected-resource/mcp');
  });

  test('rejects for a code that is not good', async () => {
    await redirected();
    await expect(lab.authorization.finish('no code')).rejects.toThrow();
    expect(lab.clock.pendingCount).toBe(0);
  });

  test('while it runs, a 401 waits for its tokens and sends nobody to sign in again', async () => {
    const url = await redirected();
    lab.server.mode = 'held';
    const finished = lab.authorization.finish(lab.server.signIn(url));
    await until(() => lab.server.tokenRequests.length > 0);
    const refused = lab.request().refused();
    lab.server.letGo();
    await finished;
    expect(await refused).toBe(true);
    expect(lab.provider.redirects).toHaveLength(1);
  });

  test('works from within redirectToAuthorization', async () => {
    lab.provider.give({ access_token: 'old' });
    lab.provider.before.redirectToAuthorization = () =>
      lab.authorization.finish(lab.server.signIn(lab.provider.redirects[0] as URL));
    await expect(lab.request().refused()).rejects.toThrow('Unauthorized');
    expect(await lab.authorization.header()).toBe(`Bearer ${lab.server.tokens.access_token}`);
  });

  test('ends the pause after tokens that did not help, and gives a challenge a new chance', async () => {
    const forbidden = lab.request();
    await forbidden.forbidden();
    expect(await (await forbidden.again()).forbidden()).toBe(false);
    const refused = await lab.sentNow();
    await refused.refused();
    await (await refused.again()).refused();
    expect(await (await lab.sentNow()).refused()).toBe(false);
    const url = await signInAnew();
    await lab.authorization.finish(lab.server.signIn(url));
    expect(await (await lab.sentNow()).forbidden()).toBe(true);
    expect(await (await lab.sentNow()).refused()).toBe(true);
  });

  /** The URL of a sign-in that another session of the same user began. */
  const signInAnew = async (): Promise<URL> => {
    const refresh = lab.provider.current;
    lab.provider.give({ access_token: 'old' });
    await expect(new ChallengedRequest(lab.another(), 'Bearer old').refused()).rejects.toThrow(
      'Unauthorized',
    );
    lab.provider.give(refresh);
    return lab.provider.redirects.at(-1) as URL;
  };
});
