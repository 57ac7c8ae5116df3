// SDK 2's own MCP server over stdio, of either era, with honest tools. Writes down what it reads.

import { appendFileSync, readFileSync } from 'node:fs';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { createTools } from '../support/mcp-server-2.ts';

const [, , journal = '', ...habits] = process.argv;
const aborted: string[] = [];

process.stdin.on('data', (chunk) => appendFileSync(journal, chunk));
const served = serveStdio(
  () => {
    const server = createTools(aborted);
    const text = (words: string) => ({ content: [{ type: 'text' as const, text: words }] });
    server.registerTool('aborted', {}, async () => text(aborted.join()));
    server.registerTool('change', {}, async () => {
      server.sendToolListChanged();
      return text('changed');
    });
    server.registerTool('take-back', {}, async () => {
      const listen = /.*"subscriptions\/listen".*/.exec(readFileSync(journal, 'utf8'));
      const { id } = JSON.parse(listen?.[0] ?? '{}') as { id?: number };
      const params = { requestId: id };
      const message = { jsonrpc: '2.0', method: 'notifications/cancelled', params };
      process.stdout.write(`${JSON.stringify(message)}\n`);
      return text('taken back');
    });
    server.registerTool('exit', {}, async () => process.exit(3));
    server.registerTool('end', {}, async () => {
      setImmediate(() => void served.close());
      return text('ending');
    });
    return server;
  },
  { legacy: habits.includes('modern-only') ? 'reject' : 'serve' },
);
