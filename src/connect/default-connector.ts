// Picks the connector for a target. Loads the SDK and undici only when the first session that needs
// them is opened, so that pools with a connector of their own never do.

import type { SessionTarget } from '../target.ts';
import type { Connector } from './connector.ts';
import type { HttpConnectorOptions, HttpShared } from './http-shared.ts';

/** What needs a connector of ours. */
type Kind = 'streamable-http' | 'sse' | 'auto';

/** The connector of a pool that was given none. */
export function createDefaultConnector(options: HttpConnectorOptions): Connector {
  const connectors = new Map<Kind, Promise<Connector>>();
  let shared: Promise<HttpShared> | undefined;
  const load = async (kind: Kind): Promise<Connector> => {
    shared ??= import('./http-shared.ts').then((module) => module.createHttpShared(options));
    switch (kind) {
      case 'streamable-http': {
        const { createHttpConnector } = await import('./http-connector.ts');
        return createHttpConnector(await shared);
      }
      case 'sse': {
        const { createSseConnector } = await import('./sse-connector.ts');
        return createSseConnector(await shared);
      }
      case 'auto': {
        const { createAutoConnector } = await import('./auto-connector.ts');
        return createAutoConnector(await shared);
      }
      default:
        return kind satisfies never;
    }
  };
  return async (target, context) => {
    if ('connect' in target) return (target.connect as Connector)(target, context);
    const kind = kindOf(target);
    const connector = connectors.get(kind) ?? load(kind);
    connectors.set(kind, connector);
    const connect = await connector;
    return connect(target, context);
  };
}

function kindOf(target: Exclude<SessionTarget, { readonly connect: unknown }>): Kind {
  if ('url' in target) return target.transport ?? 'streamable-http';
  throw new Error('This version has no connector for stdio targets: pass `connector`');
}
