// Requests to the example gateway that no client would make: any method, any header, any body.

import { request as httpRequest } from 'node:http';
import { tokenOf } from './gateway-fixture.ts';

/** What came back. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
}

/** What a client of the gateway begins with. */
export const INITIALIZE = {
  jsonrpc: '2.0',
  id: 7,
  method: 'initialize',
  params: {
    protocolVersion: '2025-06-18',
    capabilities: {},
    clientInfo: { name: 'raw', version: '1.0.0' },
  },
};

/** As ada unless told otherwise. By node:http, which sends whatever `host` and `origin` it is told. */
export function send(
  url: string,
  options: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  const { method = 'POST', headers = {}, body } = options;
  return new Promise((resolve, reject) => {
    const all = {
      authorization: `Bearer ${tokenOf('ada')}`,
      accept: 'application/json, text/event-stream',
      'content-type': 'application/json',
      ...headers,
    };
    const request = httpRequest(url, { method, headers: all, agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      response.on('error', reject);
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}
