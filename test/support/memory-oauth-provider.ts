// An OAuth provider that keeps everything in memory, writes down what it is asked, and can be made to
// hang or throw. It never opens a browser: it only notes where it would have gone.

import type { OAuthClientProvider } from '@modelcontextprotocol/sdk/client/auth.js';
import type {
  OAuthClientInformationMixed,
  OAuthClientMetadata,
  OAuthTokens,
} from '@modelcontextprotocol/sdk/shared/auth.js';

/** See the file header. Uses `#private` members, as providers may. */
export class MemoryOAuthProvider implements OAuthClientProvider {
  readonly redirectUrl = 'http://127.0.0.1/callback';
  readonly clientMetadata: OAuthClientMetadata = { redirect_uris: [this.redirectUrl] };
  #client: OAuthClientInformationMixed | undefined = { client_id: 'client' };
  #tokens: OAuthTokens | undefined;
  #verifier = '';
  /** Where the user would have been sent. */
  readonly redirects: URL[] = [];
  /** What it was told to forget. */
  readonly invalidated: string[] = [];
  /** How often `tokens()` was asked. */
  asked = 0;
  /** Runs before a method does its work, by name: may throw, hang, or do something else. */
  readonly before: { [Name in keyof OAuthClientProvider]?: () => unknown } = {};

  constructor(tokens?: Partial<OAuthTokens>) {
    this.give(tokens);
  }

  /** Sets the tokens, as another session with the same store does. Without one, `old`. */
  give(tokens: Partial<OAuthTokens> | undefined): void {
    this.#tokens = tokens && { access_token: 'old', token_type: 'bearer', ...tokens };
  }

  get current(): OAuthTokens | undefined {
    return this.#tokens;
  }

  async clientInformation(): Promise<OAuthClientInformationMixed | undefined> {
    await this.before.clientInformation?.();
    return this.#client;
  }

  async saveClientInformation(client: OAuthClientInformationMixed): Promise<void> {
    await this.before.saveClientInformation?.();
    this.#client = client;
  }

  tokens(): Promise<OAuthTokens | undefined> {
    this.asked += 1;
    const { tokens: before } = this.before;
    if (before === undefined) return Promise.resolve(this.#tokens);
    // May throw in this turn, too.
    return Promise.resolve(before()).then(() => this.#tokens);
  }

  async saveTokens(tokens: OAuthTokens): Promise<void> {
    await this.before.saveTokens?.();
    this.#tokens = tokens;
  }

  async redirectToAuthorization(url: URL): Promise<void> {
    this.redirects.push(url);
    await this.before.redirectToAuthorization?.();
  }

  saveCodeVerifier(verifier: string): void {
    this.before.saveCodeVerifier?.();
    this.#verifier = verifier;
  }

  codeVerifier(): string {
    return this.#verifier;
  }

  invalidateCredentials(scope: 'all' | 'client' | 'tokens' | 'verifier' | 'discovery'): void {
    this.invalidated.push(scope);
    if (scope === 'all' || scope === 'tokens') this.#tokens = undefined;
  }
}
