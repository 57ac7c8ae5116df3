// An upstream transport that is a script: records what is sent, answers the handshake, and says
// what the test tells it to. No sockets, no clock.

import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { JSONRPCMessage, JSONRPCRequest } from '@modelcontextprotocol/sdk/types.js';
import { systemClock } from '../../src/clock.ts';
import type { SessionLinkOptions } from '../../src/connect/link-options.ts';
import { lentShared } from '../../src/connect/sdk-1.ts';
import { SessionLink } from '../../src/connect/session-link.ts';

/** What the scripted server says of itself. */
export const HANDSHAKE = {
  protocolVersion: '2025-11-25',
  capabilities: { tools: { listChanged: true }, resources: { subscribe: true }, logging: {} },
  serverInfo: { name: 'scripted', version: '1.0.0' },
  instructions: 'Follow the script',
} as const;

/** See the file header. */
export class ScriptedTransport implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: (message: JSONRPCMessage) => void;
  sessionId?: string;
  /** Everything that was sent, in order, handshake included. */
  readonly sent: JSONRPCMessage[] = [];
  closed = 0;
  /** Answers a send: throws or rejects to fail it. Runs after it was recorded. */
  onSend: (message: JSONRPCMessage) => void | Promise<void> = () => {};
  /** Whether `initialize` is answered. */
  answersHandshake = true;

  async start(): Promise<void> {}

  async close(): Promise<void> {
    this.closed += 1;
    this.onclose?.();
  }

  async send(message: JSONRPCMessage): Promise<void> {
    this.sent.push(message);
    await this.onSend(message);
    if (this.answersHandshake && isRequest(message) && message.method === 'initialize') {
      this.sessionId = 'session-1';
      this.say({ jsonrpc: '2.0', id: message.id, result: HANDSHAKE });
    }
  }

  /** The server says something. */
  say(message: JSONRPCMessage): void {
    this.onmessage?.(message);
  }

  /** The server answers a request. */
  answer(request: JSONRPCRequest, result: Record<string, unknown> = {}): void {
    this.say({ jsonrpc: '2.0', id: request.id, result });
  }

  /** Requests of one method that were sent, oldest first. */
  requests(method: string): JSONRPCRequest[] {
    return this.sent.filter(
      (each) => isRequest(each) && each.method === method,
    ) as JSONRPCRequest[];
  }

  /** Messages of one method that were sent. */
  count(method: string): number {
    return this.sent.filter((each) => 'method' in each && each.method === method).length;
  }
}

const isRequest = (message: JSONRPCMessage): message is JSONRPCRequest =>
  'method' in message && 'id' in message;

/** An open link over a script. */
export async function openLink(
  options: Partial<SessionLinkOptions> = {},
): Promise<{ upstream: ScriptedTransport; link: SessionLink }> {
  const upstream = new ScriptedTransport();
  const link = createLink(upstream, options);
  await link.open(new AbortController().signal);
  return { upstream, link };
}

/** A link over `upstream` that is not open yet. */
export function createLink(
  upstream: Transport,
  options: Partial<SessionLinkOptions> = {},
): SessionLink {
  return new SessionLink(upstream, {
    clientInfo: { name: 'test', version: '0.0.0' },
    clientOptions: {
      capabilities: { sampling: {}, elicitation: {}, roots: { listChanged: true } },
      jsonSchemaValidator: { getValidator: () => (input) => accept(input) },
    },
    line: lentShared().line,
    clock: systemClock,
    exclusive: true,
    ...options,
  });
}

// biome-ignore lint/suspicious/noExplicitAny: the validator's type parameter is the caller's.
const accept = (input: unknown): any => ({ valid: true, data: input, errorMessage: undefined });

/** Lets everything that is ready run. */
export async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}
