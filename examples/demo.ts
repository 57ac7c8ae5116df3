// The demo: `npm run demo`. Three acts against a real MCP server in a process of its own, then a line
// for each promise. Exits by itself, with code 0 only if all of them held.

import { runGatewayWorkload } from './demo/gateway-workload.ts';
import { closeHungSessions } from './demo/hung-sessions.ts';
import { ms, say, Verdict } from './demo/page.ts';
import { startDemoServer } from './demo/server-process.ts';
import { abandonSilentClients } from './demo/silent-clients.ts';

const LIMIT_MS = 90_000;
const EXIT_LIMIT_MS = 2_000;

// Neither timer keeps the process alive: they bark only if something else does.
const limit = bark(LIMIT_MS, 'The demo hangs');
const verdict = new Verdict();
const server = await startDemoServer();
try {
  await runGatewayWorkload(server, verdict);
  await closeHungSessions(server, verdict);
  await abandonSilentClients(verdict);
} finally {
  await server.stop();
}
clearTimeout(limit);
verdict.print();
process.exitCode = verdict.allHeld ? 0 : 1;

const doneAt = performance.now();
bark(EXIT_LIMIT_MS, 'BROKEN  P2 quiet: the process does not exit by itself');
process.once('exit', (code) => {
  const soon = `exits by itself after ${ms(performance.now() - doneAt)}`;
  if (code === 0) say(`held    P2 quiet    no handle is left: the process ${soon}`);
});

function bark(afterMs: number, message: string): NodeJS.Timeout {
  const onTimeout = (): void => {
    console.error(`${message}; still there: ${process.getActiveResourcesInfo().join(', ')}`);
    process.exit(1);
  };
  return setTimeout(onTimeout, afterMs).unref();
}
