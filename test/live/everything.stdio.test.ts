// Server-everything over stdio, all of it.

import { everythingOffers } from '../support/everything-features.ts';
import { describeServer } from '../support/server-suite.ts';
import { stdioServer } from '../support/stdio-servers.ts';

describeServer({
  offers: everythingOffers,
  isOneChannel: true,
  start: () => stdioServer('everything', { args: ['stdio'] }),
});
