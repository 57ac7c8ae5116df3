// README's example of a test over real HTTP: a server that forgets sessions, one that never ends a
// call, and a look at what is left.

import { SessionPool, SessionPoolError } from 'mcp-session-pool';
import { hostileServer, leftovers } from 'mcp-session-pool/testing';

const target = (url: URL) => ({ url, identity: 'ada' });

const left = await leftovers(async () => {
  await using pool = new SessionPool({ closeTimeoutMs: 1_000 });

  // It forgets each session after its first call: the pool opens another, and nobody notices.
  await using forgetful = await hostileServer('session-forgotten');
  for (const text of ['one', 'two', 'three']) {
    const call = { name: 'echo', arguments: { text } };
    const { content } = await pool.use(target(forgetful.url), (client) => client.callTool(call));
    console.log(content, forgetful.count('POST', 'initialize'));
  }

  // It is good until it is told otherwise.
  await using server = await hostileServer('refuses-connections', { hostile: false });
  const list = () => pool.use(target(server.url), (client) => client.listTools());
  await list();
  await server.misbehave();
  const error: unknown = await list().catch((reason: unknown) => reason);
  console.log(SessionPoolError.is(error) && error.code); // OPEN_FAILED
  await server.behave();
  console.log((await list()).tools.length); // 1
});
console.log(left); // []
