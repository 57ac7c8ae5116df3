// An OAuth provider whose user signs in at once: where a gateway would send a browser, it asks the
// authorization server itself and keeps the code that comes back. Knows no pool, no scenario.

import type {
  OAuthClientProvider,
  OAuthDiscoveryState,
} from '@modelcontextprotocol/sdk/client/auth.js';
import type {
  OAuthClientInformationMixed,
  OAuthClientMetadata,
  OAuthTokens,
} from '@modelcontextprotocol/sdk/shared/auth.js';

/** Where users would come back to. Nobody listens there: the code is read from the redirect. */
const REDIRECT_URL = 'http://localhost:3000/callback';

/** See the file header. Keeps everything in memory. */
export class SignInProvider implements OAuthClientProvider {
  readonly redirectUrl: string = REDIRECT_URL;
  readonly clientMetadata: OAuthClientMetadata = {
    client_name: 'mcp-session-pool conformance',
    redirect_uris: [REDIRECT_URL],
  };
  /** A name for us that servers may look up: for those that register nobody. */
  readonly clientMetadataUrl: string = 'https://conformance-test.local/client-metadata.json';
  #client: OAuthClientInformationMixed | undefined;
  #tokens: OAuthTokens | undefined;
  #verifier = '';
  /** What one sign-in has found out: its second half must not look elsewhere than its first. */
  #discovered: OAuthDiscoveryState | undefined;
  #callback: URLSearchParams | undefined;

  /** `client`: as whom we are registered already. */
  constructor(client?: OAuthClientInformationMixed) {
    this.#client = client;
  }

  /** What the last sign-in came back with, once. */
  takeCallback(): URLSearchParams | undefined {
    const callback = this.#callback;
    this.#callback = undefined;
    return callback;
  }

  clientInformation(): OAuthClientInformationMixed | undefined {
    return this.#client;
  }

  saveClientInformation(client: OAuthClientInformationMixed): void {
    this.#client = client;
  }

  tokens(): OAuthTokens | undefined {
    return this.#tokens;
  }

  saveTokens(tokens: OAuthTokens): void {
    this.#tokens = tokens;
    this.#discovered = undefined;
  }

  saveCodeVerifier(verifier: string): void {
    this.#verifier = verifier;
  }

  codeVerifier(): string {
    return this.#verifier;
  }

  saveDiscoveryState(state: OAuthDiscoveryState): void {
    this.#discovered = state;
  }

  discoveryState(): OAuthDiscoveryState | undefined {
    return this.#discovered;
  }

  invalidateCredentials(scope: 'all' | 'client' | 'tokens' | 'verifier' | 'discovery'): void {
    if (scope === 'all' || scope === 'client') this.#client = undefined;
    if (scope === 'all' || scope === 'tokens') this.#tokens = undefined;
    if (scope === 'all' || scope === 'discovery') this.#discovered = undefined;
  }

  async redirectToAuthorization(url: URL): Promise<void> {
    const response = await fetch(url, { redirect: 'manual' });
    await response.body?.cancel();
    const location = response.headers.get('location');
    if (location === null) throw new Error(`No redirect from ${url.origin}: ${response.status}`);
    this.#callback = new URL(location).searchParams;
  }
}
