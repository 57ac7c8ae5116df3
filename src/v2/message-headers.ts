// What SDK 2 says beside a message, in the words of our transport: the headers that one request
// brings, and those that a request of 2026-07-28 carries because it stands for itself. Pure.

import type { TransportSendOptions } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { JSONRPCMessage, JSONRPCRequest } from '@modelcontextprotocol/sdk/types.js';
import type { LaneSendOptions } from '../connect/lane.ts';
import { RESERVED_HEADERS } from '../target-check.ts';

/** Says which revision a request is of. Only requests of 2026-07-28 and later hold it. */
const VERSION = 'io.modelcontextprotocol/protocolVersion';

/** What of a request's params is its `Mcp-Name` (2026-07-28, Streamable HTTP, Request Metadata). */
const NAME_OF: ReadonlyMap<string, string> = new Map([
  ['tools/call', 'name'],
  ['prompts/get', 'name'],
  ['resources/read', 'uri'],
  ['tasks/get', 'taskId'],
  ['tasks/update', 'taskId'],
  ['tasks/cancel', 'taskId'],
]);

/** Headers that a request can't bring: they say who asks, or what the body says already. */
const NOT_ITS_OWN: ReadonlySet<string> = new Set([
  ...RESERVED_HEADERS,
  ...['authorization', 'dpop', 'mcp-method', 'mcp-name'],
]);

/** What SDK 2 hands to a transport, as far as it concerns ours. */
interface Sdk2SendOptions extends TransportSendOptions {
  /** Of this request alone: what its caller gave, and `Mcp-Param-*`. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** See the file header. */
export function sendOptions(
  message: JSONRPCMessage,
  options: TransportSendOptions | undefined,
): LaneSendOptions | undefined {
  const { headers, resumptionToken, onresumptiontoken } = (options ?? {}) as Sdk2SendOptions;
  const ownHeaders = headers === undefined ? {} : itsOwn(headers);
  const version = versionOf(message);
  if (version !== undefined) {
    addMetadata(ownHeaders, message as JSONRPCRequest, version);
    return { ownHeaders, standsAlone: true };
  }
  return {
    ...(headers !== undefined && { ownHeaders }),
    ...(resumptionToken !== undefined && { resumptionToken }),
    ...(onresumptiontoken !== undefined && { onresumptiontoken }),
  };
}

/** `undefined`: it is no request of a revision without sessions. */
function versionOf(message: JSONRPCMessage): string | undefined {
  if (!('method' in message && 'id' in message)) return undefined;
  const version = message.params?._meta?.[VERSION];
  return typeof version === 'string' ? version : undefined;
}

function itsOwn(headers: Readonly<Record<string, string>>): Record<string, string> {
  const own: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase();
    if (!NOT_ITS_OWN.has(lower)) own[lower] = value;
  }
  return own;
}

function addMetadata(
  headers: Record<string, string>,
  { method, params }: JSONRPCRequest,
  version: string,
): void {
  headers['mcp-protocol-version'] = headerValue(version);
  headers['mcp-method'] = headerValue(method);
  const member = NAME_OF.get(method);
  const name: unknown = member === undefined ? undefined : params?.[member];
  if (typeof name === 'string') headers['mcp-name'] = headerValue(name);
}

/** What a header can't hold as it is goes in base64, and so does what would look like that. */
function headerValue(text: string): string {
  const isPlain = /^[!-~](?:[\t -~]*[!-~])?$/.test(text);
  if (isPlain && !/^=\?base64\?.*\?=$/.test(text)) return text;
  return `=?base64?${Buffer.from(text).toString('base64')}?=`;
}
