// A client of bytes: sends one HTTP request at a time and tells what came back, so that tests of
// servers rest on nothing that has ideas of its own about MCP.

import { type IncomingMessage, request as startRequest } from 'node:http';

/** What came back so far. */
export interface RawAnswer {
  /** `undefined`: no head has come. */
  status: number | undefined;
  headers: IncomingMessage['headers'];
  text: string;
  /** The body came to its end. */
  isEnded: boolean;
  /** The code of the error that the connection ended with. */
  error: string | undefined;
  /** Hangs up. */
  readonly hangUp: () => void;
}

/** Sends a request. The answer fills as it comes. */
export function send(
  url: URL,
  method: string,
  headers: Readonly<Record<string, string>> = {},
  body = '',
): RawAnswer {
  const length = { 'content-length': String(Buffer.byteLength(body)) };
  const request = startRequest(url, { method, agent: false, headers: { ...length, ...headers } });
  const answer: RawAnswer = {
    status: undefined,
    headers: {},
    text: '',
    isEnded: false,
    error: undefined,
    hangUp: () => request.destroy(),
  };
  const onError = (error: Error): void => {
    answer.error = (error as { code?: string }).code ?? error.name;
  };
  request.on('error', onError);
  request.on('response', (response) => {
    answer.status = response.statusCode;
    answer.headers = response.headers;
    response.setEncoding('utf8');
    response.on('error', onError);
    response.on('data', (text: string) => {
      answer.text += text;
    });
    response.on('end', () => {
      answer.isEnded = true;
    });
  });
  // Bytes: Node would write a head and a text together, in the encoding of the text.
  request.end(Buffer.from(body));
  return answer;
}

/** Sends a JSON-RPC message as MCP clients do. */
export function post(url: URL, message: object, sessionId?: string): RawAnswer {
  const headers = {
    accept: 'application/json, text/event-stream',
    'content-type': 'application/json',
    ...(sessionId !== undefined && { 'mcp-session-id': sessionId }),
  };
  return send(url, 'POST', headers, JSON.stringify({ jsonrpc: '2.0', ...message }));
}

/** `initialize`, as MCP clients send it. */
export const initializeMessage = {
  id: 0,
  method: 'initialize',
  params: {
    protocolVersion: '2025-06-18',
    capabilities: {},
    clientInfo: { name: 'raw', version: '0.0.0' },
  },
};
