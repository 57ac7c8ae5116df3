// Picks the connector for a target. Loads the SDK, undici and what starts processes only when the
// first session that needs them is opened, so that pools with a connector of their own never do.

import type { Connector } from './connector.ts';
import type { HttpConnectorOptions } from './http-connector.ts';

/** The connector of a pool that was given none. */
export function createDefaultConnector(options: HttpConnectorOptions): Connector {
  let http: Promise<Connector> | undefined;
  let stdio: Promise<Connector> | undefined;
  return async (target, context) => {
    if ('connect' in target) return (target.connect as Connector)(target, context);
    if ('command' in target) {
      stdio ??= loadStdio();
      const connect = await stdio;
      return connect(target, context);
    }
    if (target.transport === 'sse') {
      throw new Error('This version has no connector for sse targets: pass `connector`');
    }
    http ??= loadHttp(options);
    const connect = await http;
    return connect(target, context);
  };
}

async function loadStdio(): Promise<Connector> {
  const [{ createStdioConnector }, { lentShared }] = await Promise.all([
    import('./stdio-connector.ts'),
    import('./sdk-1.ts'),
  ]);
  return createStdioConnector(lentShared());
}

async function loadHttp(options: HttpConnectorOptions): Promise<Connector> {
  const [{ createHttpConnector }, { lentShared }] = await Promise.all([
    import('./http-connector.ts'),
    import('./sdk-1.ts'),
  ]);
  return createHttpConnector(options, lentShared());
}
