// A little OAuth server on 127.0.0.1: metadata of a protected resource and of its authorization
// server, and a token endpoint with refresh tokens that are good for one use and codes that are
// bound to a verifier. Counts what it is asked, and can be made to hang, break or never end.

import { createHash, randomUUID } from 'node:crypto';
import { type RawExchange, startRawServer } from './raw-server.ts';

/**
 * What the token endpoint does. `held`: waits until `letGo`. `broken`: answers 503. `endless`: its
 * answer never ends. `insolent`: refuses the client.
 */
export type TokenMode = 'good' | 'held' | 'broken' | 'endless' | 'insolent';

/** A running server. */
export interface OAuthServer {
  /** The protected endpoint. */
  readonly url: URL;
  /** The tokens that are good now. */
  readonly tokens: { readonly access_token: string; readonly refresh_token: string };
  mode: TokenMode;
  /** What reached the token endpoint, in order. */
  readonly tokenRequests: readonly URLSearchParams[];
  /** Paths that were asked for, in order. */
  readonly paths: readonly string[];
  /** The header names of every request. */
  readonly headerNames: ReadonlySet<string>;
  /** Requests that are neither answered nor hung up on. */
  readonly pending: number;
  /** The most token requests that ever waited at once. */
  readonly mostTokensAtOnce: number;
  /** Signs the user in where `authorizationUrl` leads: the code for it. */
  signIn(authorizationUrl: URL): string;
  /** Answers the token requests that are held. */
  letGo(): void;
  /** The refresh token given out last is good no more. */
  revoke(): void;
  close(): Promise<void>;
}

/** What it serves. */
export interface OAuthServerOptions {
  /** Answers at the protected endpoint, where there is nothing without it. */
  readonly onProtected?: (exchange: RawExchange) => void;
  /** The endpoint that it is for. Default: its own. */
  readonly resource?: () => URL;
}

/** Starts it. */
export async function startOAuthServer({
  onProtected,
  resource,
}: OAuthServerOptions = {}): Promise<OAuthServer> {
  const tokenRequests: URLSearchParams[] = [];
  const headerNames = new Set<string>();
  const held: (() => void)[] = [];
  /** The challenge of each code that was given out. */
  const codes = new Map<string, string>();
  let tokens = newTokens();
  let mode: TokenMode = 'good';
  let mostTokensAtOnce = 0;

  const raw = await startRawServer((exchange) => {
    for (const name of Object.keys(exchange.headers)) headerNames.add(name);
    const { pathname } = new URL(exchange.path, raw.url);
    const { origin } = raw.url;
    if (pathname === '/token') return onToken(exchange);
    if (pathname === '/mcp' && onProtected !== undefined) return onProtected(exchange);
    if (/^\/(\.well-known\/oauth-protected-resource\/mcp|elsewhere)$/.test(pathname)) {
      const { href } = resource?.() ?? raw.url;
      return answer(exchange, 200, { resource: href, authorization_servers: [origin] });
    }
    if (pathname !== '/.well-known/oauth-authorization-server') return answer(exchange, 404, {});
    answer(exchange, 200, {
      issuer: origin,
      authorization_endpoint: `${origin}/authorize`,
      token_endpoint: `${origin}/token`,
      response_types_supported: ['code'],
      code_challenge_methods_supported: ['S256'],
    });
  });

  const onToken = (exchange: RawExchange): void => {
    tokenRequests.push(new URLSearchParams(exchange.body));
    if (mode === 'good') return grant(exchange);
    if (mode === 'broken') return answer(exchange, 503, {});
    if (mode === 'insolent') return answer(exchange, 401, { error: 'invalid_client' });
    if (mode === 'endless') return pour(exchange);
    held.push(() => grant(exchange));
    mostTokensAtOnce = Math.max(mostTokensAtOnce, held.length);
  };

  const grant = (exchange: RawExchange): void => {
    const asked = new URLSearchParams(exchange.body);
    const code = asked.get('code') ?? '';
    const isGood =
      asked.get('grant_type') === 'refresh_token'
        ? asked.get('refresh_token') === tokens.refresh_token
        : codes.get(code) === s256(asked.get('code_verifier') ?? '');
    if (!isGood) return answer(exchange, 400, { error: 'invalid_grant' });
    codes.delete(code);
    tokens = newTokens();
    answer(exchange, 200, { ...tokens, token_type: 'bearer', expires_in: 60 });
  };

  return {
    url: raw.url,
    get tokens() {
      return tokens;
    },
    get mode() {
      return mode;
    },
    set mode(next) {
      mode = next;
    },
    tokenRequests,
    headerNames,
    get paths() {
      return raw.exchanges.map(({ path }) => path);
    },
    get pending() {
      return raw.pending;
    },
    get mostTokensAtOnce() {
      return mostTokensAtOnce;
    },
    signIn: ({ searchParams }) => {
      const code = randomUUID();
      codes.set(code, searchParams.get('code_challenge') ?? '');
      return code;
    },
    letGo: () => {
      for (const each of held.splice(0)) each();
    },
    revoke: () => {
      tokens = newTokens();
    },
    close: () => raw.close(),
  };
}

function newTokens(): { access_token: string; refresh_token: string } {
  return { access_token: `access-${randomUUID()}`, refresh_token: `refresh-${randomUUID()}` };
}

function s256(verifier: string): string {
  return createHash('sha256').update(verifier).digest('base64url');
}

function answer({ response }: RawExchange, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

/** Begins a body that goes on until the other side hangs up. */
function pour({ response }: RawExchange): void {
  const chunk = Buffer.alloc(1 << 16, ' ');
  const write = (): void => {
    while (!response.destroyed && response.write(chunk));
  };
  response.writeHead(200, { 'content-type': 'application/json' });
  response.on('drain', write);
  write();
}
