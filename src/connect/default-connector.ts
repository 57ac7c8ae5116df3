// Picks the connector for a target. Loads the SDK, undici and what starts processes only when the
// first session that needs them is opened, so that pools with a connector of their own never do.

import type { Connector } from './connector.ts';
import type { HttpConnectorOptions, HttpShared } from './http-shared.ts';
import type { LentShared } from './lent-clients.ts';
import { kindOf, type TargetKind } from './target-kind.ts';

/** The connector of a pool that was given none. */
export function createDefaultConnector(options: HttpConnectorOptions): Connector {
  const connectors = new Map<TargetKind, Promise<Connector>>();
  const loader = new Loader(options);
  return async (target, context) => {
    if ('connect' in target) return (target.connect as Connector)(target, context);
    const kind = kindOf(target);
    const connector = connectors.get(kind) ?? loader.load(kind);
    connectors.set(kind, connector);
    const connect = await connector;
    return connect(target, context);
  };
}

/** What connectors of several kinds share is made once. */
class Loader {
  readonly #options: HttpConnectorOptions;
  #lent: Promise<LentShared> | undefined;
  #http: Promise<HttpShared> | undefined;

  constructor(options: HttpConnectorOptions) {
    this.#options = options;
  }

  async load(kind: TargetKind): Promise<Connector> {
    switch (kind) {
      case 'streamable-http': {
        const { createHttpConnector } = await import('./http-connector.ts');
        return createHttpConnector(await this.#sharedByHttp());
      }
      case 'sse': {
        const { createSseConnector } = await import('./sse-connector.ts');
        return createSseConnector(await this.#sharedByHttp());
      }
      case 'auto': {
        const { createAutoConnector } = await import('./auto-connector.ts');
        return createAutoConnector(await this.#sharedByHttp());
      }
      case 'stdio': {
        const { createStdioConnector } = await import('./stdio-connector.ts');
        return createStdioConnector(await this.#sharedByAll());
      }
      default:
        return kind satisfies never;
    }
  }

  #sharedByAll(): Promise<LentShared> {
    this.#lent ??= import('./sdk-1.ts').then((module) => module.lentShared());
    return this.#lent;
  }

  #sharedByHttp(): Promise<HttpShared> {
    this.#http ??= import('./http-shared.ts').then(async ({ httpMeans }) => ({
      ...(await this.#sharedByAll()),
      ...httpMeans(this.#options),
    }));
    return this.#http;
  }
}
