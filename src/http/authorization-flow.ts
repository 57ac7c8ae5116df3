// One OAuth flow: the SDK's `auth()`, held to a signal. When it aborts, nothing is fetched any more
// and nobody is sent to sign in. Loads the SDK's part when it is first needed. Knows no requests.

import type { OAuthClientProvider } from '@modelcontextprotocol/sdk/client/auth.js';
import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';

/** What of an SDK runs flows. Either major has it, and their classes must not be mixed. */
export interface OAuthFunctions {
  auth(
    provider: OAuthClientProvider,
    options: {
      readonly serverUrl: string | URL;
      readonly authorizationCode?: string;
      readonly scope?: string;
      readonly resourceMetadataUrl?: URL;
      readonly fetchFn?: FetchLike;
    },
  ): Promise<'AUTHORIZED' | 'REDIRECT'>;
  extractWWWAuthenticateParams(response: Response): Challenge;
  readonly UnauthorizedError: new () => Error;
}
/** Loads them when they are first needed. */
export type LoadOAuth = () => Promise<OAuthFunctions>;

/** What a `www-authenticate` says. */
export interface Challenge {
  readonly resourceMetadataUrl?: URL;
  readonly scope?: string;
  readonly error?: string;
}

/** Those of SDK 1. */
export const loadOAuthOfSdk1: LoadOAuth = () => import('@modelcontextprotocol/sdk/client/auth.js');

/** Whose flow it is. */
export interface FlowParties {
  /** Default: SDK 1. */
  readonly oauth?: LoadOAuth | undefined;
  readonly endpoint: URL;
  readonly provider: OAuthClientProvider;
  readonly fetch: FetchLike;
}

/** What a flow is to gain. */
export interface FlowAim {
  readonly resourceMetadataUrl?: URL | undefined;
  readonly scope?: string | undefined;
  /** Completes a sign-in; without one, tokens are refreshed, or a sign-in begins. */
  readonly authorizationCode?: string | undefined;
  /** Nobody is there to sign in: rejects instead of beginning it. Default: false. */
  readonly isUnattended?: boolean | undefined;
}

/** Metadata and tokens take a few kilobytes. */
const MAX_BODY_BYTES = 1 << 20;
/** What of a provider the SDK calls to begin a sign-in. */
const SIGN_IN: readonly (string | symbol)[] = ['saveCodeVerifier', 'redirectToAuthorization'];
/** Statuses of answers that have no body. */
const BODILESS: readonly number[] = [204, 205, 304];

/**
 * Runs a flow. When it settles well, the provider has new tokens. Rejects with the SDK's
 * `UnauthorizedError` when the user has been sent to sign in. Hangs when the provider does.
 */
export async function runAuthorizationFlow(
  { endpoint, provider, fetch, oauth = loadOAuthOfSdk1 }: FlowParties,
  { resourceMetadataUrl, scope, authorizationCode, isUnattended = false }: FlowAim,
  signal: AbortSignal,
): Promise<void> {
  const { auth, UnauthorizedError } = await oauth();
  const result = await auth(providerUntil(signal, provider, isUnattended), {
    serverUrl: endpoint,
    ...(resourceMetadataUrl !== undefined && { resourceMetadataUrl }),
    ...(scope !== undefined && { scope }),
    ...(authorizationCode !== undefined && { authorizationCode }),
    fetchFn: fetchUntil(signal, fetch),
  });
  if (result !== 'AUTHORIZED') throw new UnauthorizedError();
}

/** What the text of a `www-authenticate` says, as the SDK reads it. */
export async function readChallenge(
  challenge: string,
  oauth: LoadOAuth = loadOAuthOfSdk1,
): Promise<Challenge> {
  const sdk = await oauth();
  // Only what a header of a `Response` may hold: it throws at anything else.
  const value = challenge.replace(/[^\t\x20-\x7E]/g, '?');
  const headers = { 'www-authenticate': value };
  return sdk.extractWWWAuthenticateParams(new Response(null, { headers }));
}

/** Every scope that is named in any of them, once; `undefined` if there is none. */
export function scopeUnion(...scopes: readonly (string | undefined)[]): string | undefined {
  const names = scopes.flatMap((scope) => scope?.split(' ') ?? []).filter((name) => name !== '');
  return names.length === 0 ? undefined : [...new Set(names)].join(' ');
}

/**
 * `provider` as long as the flow lasts. The SDK takes a fetch that was aborted for a server that is
 * down, and would go on to send the user to sign in, for a flow that nobody waits for. Tokens that
 * have come are still saved: the ones before them may be used up. Unattended, it is not told to
 * begin a sign-in.
 */
function providerUntil(
  signal: AbortSignal,
  provider: OAuthClientProvider,
  isUnattended: boolean,
): OAuthClientProvider {
  // Not a proxy for `provider` itself: of a frozen one it could not replace the methods.
  return new Proxy<OAuthClientProvider>(Object.create(null), {
    has: (_target, name) => name in provider,
    get: (_target, name) => {
      const member: unknown = Reflect.get(provider, name);
      if (typeof member !== 'function') return member;
      return (...args: unknown[]): unknown => {
        if (name !== 'saveTokens') signal.throwIfAborted();
        if (isUnattended && SIGN_IN.includes(name)) throw new Error('Nobody is there to sign in');
        return Reflect.apply(member, provider, args);
      };
    },
  });
}

/**
 * `fetch` as long as the flow lasts. Takes all of a body, within a bound. Answers with the global
 * `Response`: of undici's own, which is another class, the SDK can't read OAuth errors, and would
 * take a revoked token for a broken server.
 */
function fetchUntil(signal: AbortSignal, fetch: FetchLike): FetchLike {
  return async (target, init) => {
    // The SDK brings no signal of its own.
    const response = await fetch(target, { ...init, signal });
    const { status, statusText, headers, url } = response;
    const body = await bodyOf(response);
    const copy = new Response(BODILESS.includes(status) ? null : body, {
      status,
      statusText,
      headers: [...headers],
    });
    return Object.defineProperty(copy, 'url', { value: url });
  };
}

async function bodyOf(response: Response): Promise<Buffer<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw new Error(`An OAuth answer exceeds ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
