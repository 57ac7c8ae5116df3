// An MCP server over stdio, by hand, that misbehaves as it is told: by its arguments from the start,
// by the names of the tools that are called later. Writes down what it reads, if it is told where.

import { spawn } from 'node:child_process';
import { appendFileSync, closeSync } from 'node:fs';

const [, , journal = '', ...habits] = process.argv;
const has = (habit: string): boolean => habits.includes(habit);

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly name?: string; readonly arguments?: Record<string, unknown> };
}

const write = (message: object): boolean =>
  process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);

/** Lives on for a minute, whatever happens to us, with our pipes. */
function startGrandchild(how: {
  readonly detached?: boolean;
  readonly isStubborn?: boolean;
}): void {
  const script = [
    how.isStubborn ? "process.on('SIGTERM', () => {});" : '',
    "setTimeout(() => {}, 60_000); process.stderr.write('grandchild is up\\n');",
  ].join('');
  spawn(process.execPath, ['-e', script], { stdio: 'inherit', detached: how.detached ?? false });
}

/** Writes `text` for ever, no faster than it is read. */
function flood(stream: NodeJS.WriteStream, text: string): void {
  const more = (): void => {
    if (stream.write(text)) setImmediate(more);
    else stream.once('drain', more);
  };
  more();
}

const line = (message: object): string => `${JSON.stringify(message)}\n`;
const note = line({
  jsonrpc: '2.0',
  method: 'notifications/message',
  params: { level: 'info', data: 'x' },
});

/** What a tool does before it answers. `'silent'`: it never does. */
const tools: Record<string, (input: Record<string, unknown>) => unknown> = {
  echo: (input) => input['text'],
  pid: () => process.pid,
  environment: () => Object.keys(process.env).sort(),
  folder: () => process.cwd(),
  hang: () => 'silent',
  exit: (input) => process.exit(Number(input['code'] ?? 0)),
  'exit-soon': () => void setTimeout(() => process.exit(3), 50),
  'answer-and-exit': (input) => {
    // At once when the answer has left us, read or not.
    setImmediate(() => process.stdout.write('', () => process.exit(4)));
    process.stdout.write(note.repeat(700));
    return 'y'.repeat(Number(input['length']));
  },
  'kill-self': () => {
    process.kill(process.pid, 'SIGKILL');
    return 'silent';
  },
  'last-words': () => {
    process.stderr.write('first line\nlast words: out of luck\n');
    process.exit(7);
  },
  'stop-self': () => void setImmediate(() => process.kill(process.pid, 'SIGSTOP')),
  'stop-reading': () => void process.stdin.pause().removeAllListeners('data'),
  'read-later': () => {
    process.stdin.pause();
    setTimeout(() => process.stdin.resume(), 300);
  },
  'close-stdin': () => closeSync(0),
  'close-stdout': () => void setImmediate(() => closeSync(1)),
  grandchild: () => startGrandchild({}),
  'stubborn-grandchild': () => startGrandchild({ isStubborn: true }),
  'grandchild-apart': () => startGrandchild({ detached: true }),
  'grandchild-and-exit': () => {
    startGrandchild({});
    setTimeout(() => process.exit(0), 200);
    return 'silent';
  },
  'flood-nonsense': () => flood(process.stdout, 'no message\n'.repeat(5_000)),
  'flood-notes': () => flood(process.stdout, note.repeat(500)),
  'flood-answers': () =>
    flood(process.stdout, line({ jsonrpc: '2.0', id: 1e9, result: {} }).repeat(500)),
  'flood-stderr': () => flood(process.stderr, 'chatter chatter chatter\n'.repeat(2_000)),
  'endless-line': () => flood(process.stdout, 'x'.repeat(65_536)),
  'nonsense-line': (input) => void process.stdout.write(`${String(input['text'])}\n`),
  'stderr-lines': (input) => void process.stderr.write(String(input['text'])),
  'large-answer': (input) => 'y'.repeat(Number(input['length'])),
};

function receive(message: Message): void {
  const { id, method, params } = message;
  if (id === undefined) return;
  if (method === 'initialize') {
    if (has('hang-initialize')) return;
    if (has('exit-in-initialize')) {
      process.stderr.write('no configuration found\n');
      process.exit(9);
    }
    const serverInfo = { name: 'stdio-server', version: '1.0.0' };
    write({
      id,
      result: { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo },
    });
  } else if (method === 'server/discover') {
    if (has('exit-if-asked')) process.exit(6);
  } else if (method === 'ping') {
    write({ id, result: {} });
  } else if (method === 'tools/call') {
    const answer = tools[params?.name ?? '']?.(params?.arguments ?? {});
    if (answer === 'silent') return;
    const text = typeof answer === 'string' ? answer : JSON.stringify(answer ?? null);
    write({ id, result: { content: [{ type: 'text', text }] } });
  }
}

if (has('ignore-sigterm')) process.on('SIGTERM', () => {});
if (has('ignore-eof')) setInterval(() => {}, 60_000);
if (has('complain')) process.stderr.write('waiting for a sign-in in the browser\n');
if (has('exit-at-start')) process.exit(5);
if (has('grandchild-at-start')) startGrandchild({});
if (has('slow-end')) process.stdin.on('end', () => void setTimeout(() => process.exit(0), 100));
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});
let rest = '';
process.stdin.setEncoding('utf8').on('data', (chunk: string) => {
  const lines = (rest + chunk).split('\n');
  rest = lines.pop() ?? '';
  for (const each of lines) {
    if (journal !== '') appendFileSync(journal, `${each}\n`);
    receive(JSON.parse(each) as Message);
  }
});
