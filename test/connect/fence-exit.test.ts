// Whether a process with fences in it ends when it should: not before an answer has come (row 16
// of the hazards), and soon after everything was torn down (rows 4 and 5).

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { beginEvents, type RawExchange, speakMcp, startRawServer } from '../support/raw-server.ts';

const CHILD = fileURLToPath(new URL('../.build/test/children/fence-exit.js', import.meta.url));

/** Only starting a process takes seconds on a busy machine. */
const KILL_AFTER_MS = 20_000;
const TEST = { timeout: 25_000 };

interface Exit {
  readonly code: number | null;
  readonly output: string;
  /** From the last output to the exit. */
  readonly lingeredMs: number;
}

/** Runs one scenario against `url` until it exits by itself. */
function run(scenario: string, url: URL): Promise<Exit> {
  if (!existsSync(CHILD)) throw new Error('Run `npm run build:children` first');
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CHILD, scenario, url.href]);
    let output = '';
    let spokeAt = performance.now();
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      spokeAt = performance.now();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS);
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, output: output.trim(), lingeredMs: performance.now() - spokeAt });
    });
  });
}

const hang = (exchange: RawExchange): void => void beginEvents(exchange);
const poll = (exchange: RawExchange): void =>
  void beginEvents(exchange, `retry: 600000\nid: ${exchange.count}\ndata:\n\n`).end();

describe('a process with a fence in it', TEST, () => {
  test('ends within the floor of a second once its sessions are torn down', async () => {
    const server = await startRawServer(
      speakMcp({
        GET: (exchange) => (exchange.count === 1 ? poll : hang)(exchange),
        'tools/call': (exchange) =>
          (exchange.message.params?.['name'] === 'poll' ? poll : hang)(exchange),
      }),
    );
    const { code, output, lingeredMs } = await run('tear-down', server.url);
    expect(output).toBe(Array(5).fill('rejected').join(' '));
    expect(code).toBe(0);
    // The SDK's own timers, which are the floor and not the ten minutes that the server asked for.
    expect(lingeredMs).toBeLessThan(5_000);
    await server.close();
  });

  test('ends while a GET waits for the governor', async () => {
    const server = await startRawServer(poll);
    const { code, output, lingeredMs } = await run('hold-back', server.url);
    expect(output).toBe('held');
    expect(code).toBe(0);
    expect(lingeredMs).toBeLessThan(5_000);
    expect(server.count('GET')).toBe(1);
    await server.close();
  });

  test('row 16: does not end before an answer that it waits for has come', async () => {
    const server = await startRawServer(({ response }) => {
      response.writeHead(200, { 'content-type': 'text/plain' });
      response.write('slow ');
      setTimeout(() => response.end('answer'), 150);
    });
    const { code, output } = await run('answer', server.url);
    expect(output).toBe('slow answer');
    expect(code).toBe(0);
    await server.close();
  });
});
