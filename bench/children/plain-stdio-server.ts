// An MCP server over stdio by hand that does as little as a server can: the counterpart of
// `plain-server.ts`. Ends with its input.

import { TAILS, type Tool } from '../support/call-texts.ts';

interface Message {
  readonly id?: number | string;
  readonly method?: string;
  readonly params?: { readonly name?: Tool; readonly arguments?: { readonly n?: number } };
}

const END = '"}]}}\n';
const tails: Readonly<Record<Tool, string>> = {
  small: TAILS.small + END,
  large: TAILS.large + END,
};

function answer({ id, method, params }: Message): string {
  if (id === undefined) return '';
  const head = `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":`;
  if (method === 'tools/call') {
    const text = `{"content":[{"type":"text","text":"${params?.arguments?.n}: `;
    return head + text + tails[params?.name ?? 'small'];
  }
  if (method !== 'initialize') return `${head}{}}\n`;
  const serverInfo = { name: 'plain', version: '1.0.0' };
  const result = { protocolVersion: '2025-06-18', capabilities: { tools: {} }, serverInfo };
  return `${head}${JSON.stringify(result)}}\n`;
}

let rest = '';
process.stdin.setEncoding('utf8').on('data', (chunk: string) => {
  const lines = (rest + chunk).split('\n');
  rest = lines.pop() ?? '';
  process.stdout.write(lines.map((line) => answer(JSON.parse(line) as Message)).join(''));
});
