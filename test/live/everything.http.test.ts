// Server-everything over Streamable HTTP, all of it.

import { everythingOffers } from '../support/everything-features.ts';
import { startEverythingServer } from '../support/everything-server.ts';
import { describeServer } from '../support/server-suite.ts';

describeServer({
  offers: everythingOffers,
  isOneChannel: false,
  start: async () => {
    const server = await startEverythingServer();
    return { target: { url: server.url, identity: 'ada' }, close: () => server.close() };
  },
});
