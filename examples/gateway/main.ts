// The gateway as a program: `npm run gateway` for the demo, or `node main.js <config.json>`.
// SIGTERM (or Ctrl-C) drains it, a second one shortens the drain, and then the process ends by
// itself: nothing here calls `process.exit`. SIGHUP reads the users anew, and ends the demo, which
// has none to read: its terminal was closed.

import { pino } from 'pino';
import { readConfig } from './config.ts';
import { type DemoWorld, startDemoWorld } from './demo-world.ts';
import { Gateway } from './gateway.ts';

const logger = pino({ level: process.env['LOG_LEVEL'] ?? 'info' }, pino.destination(2));
const [, , configPath] = process.argv;
const demo = configPath === undefined ? await startDemoWorld() : undefined;
const config = demo?.config ?? (await readConfig(configPath!));
const gateway = new Gateway(config, logger);
const origin = await gateway.listen();
console.log(`The gateway listens on ${origin} (process ${process.pid})`);
if (demo !== undefined) explain(demo);

let signals = 0;
for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, onSignal);

// Tokens and credentials rotate, users come and go. The rest of the file is read at the start only.
process.on('SIGHUP', () => {
  if (configPath === undefined) return onSignal();
  readConfig(configPath)
    .then(({ users }) => gateway.setUsers(users))
    .catch((error: unknown) => logger.error({ err: error }, 'The users stay as they are'));
});

function onSignal(): void {
  signals += 1;
  const drainTimeoutMs = signals === 1 ? config.limits.drainTimeoutMs : 0;
  const closed = gateway.close({ drainTimeoutMs });
  if (signals > 1) return;
  logger.info({ drainTimeoutMs }, 'Draining');
  closed
    .then(async (report) => {
      logger.info(report, 'Closed');
      await demo?.stop();
    })
    .catch((error: unknown) => {
      logger.fatal({ err: error }, 'Could not close');
      process.exitCode = 1;
    });
}

function explain({ tokens }: DemoWorld): void {
  for (const name of Object.keys(config.servers)) {
    for (const token of Object.values(tokens)) {
      console.log(`  ${origin}/${name}/mcp   Authorization: Bearer ${token}`);
    }
  }
  console.log(`  ${origin}/healthz`);
}
