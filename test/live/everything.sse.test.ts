// Server-everything over SSE, as servers of 2024 spoke, all of it.

import { everythingOffers } from '../support/everything-features.ts';
import { startEverythingServer } from '../support/everything-server.ts';
import { describeServer } from '../support/server-suite.ts';

describeServer({
  offers: everythingOffers,
  isOneChannel: true,
  start: async () => {
    const server = await startEverythingServer(0, 'sse');
    const target = { url: server.url, transport: 'sse', identity: 'ada' } as const;
    return { target, close: () => server.close() };
  },
});
