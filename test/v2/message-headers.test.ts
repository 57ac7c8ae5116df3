// The headers that a message of SDK 2 brings, by table.

import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, test } from 'vitest';
import { sendOptions } from '../../src/v2/message-headers.ts';

const VERSION = 'io.modelcontextprotocol/protocolVersion';
const modern = (method: string, params: object = {}): JSONRPCMessage => ({
  jsonrpc: '2.0',
  id: 1,
  method,
  params: { ...params, _meta: { [VERSION]: '2026-07-28' } },
});
const old: JSONRPCMessage = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'x' } };

describe('a request that stands alone', () => {
  test.each([
    ['tools/call', { name: 'search' }, 'search'],
    ['prompts/get', { name: 'ask' }, 'ask'],
    ['resources/read', { uri: 'file:///a b' }, 'file:///a b'],
    ['tasks/get', { taskId: 't-1' }, 't-1'],
    ['tools/list', {}, undefined],
    ['tools/call', { name: 7 }, undefined],
  ])('says its method and its name: %s', (method, params, name) => {
    expect(sendOptions(modern(method, params), undefined)).toEqual({
      standsAlone: true,
      ownHeaders: {
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': method,
        ...(name !== undefined && { 'mcp-name': name }),
      },
    });
  });

  test.each([
    ['plain', 'plain'],
    ['a\tb', 'a\tb'],
    ['größe', '=?base64?Z3LDtsOfZQ==?='],
    [' padded', '=?base64?IHBhZGRlZA==?='],
    ['', '=?base64??='],
    ['a\r\nb: c', '=?base64?YQ0KYjogYw==?='],
    ['=?base64?eA==?=', '=?base64?PT9iYXNlNjQ/ZUE9PT89?='],
  ])('says the name %j as a header can hold it', (name, header) => {
    const { ownHeaders } = sendOptions(modern('tools/call', { name }), undefined) ?? {};
    expect(ownHeaders?.['mcp-name']).toBe(header);
  });

  test('brings what mirrors its arguments, and nothing that says who asks', () => {
    const headers = {
      'Mcp-Param-Region': 'eu',
      traceparent: '00-1',
      Authorization: 'Bearer stolen',
      'Mcp-Name': 'another',
      'mcp-session-id': 's',
      Accept: 'x/y',
      DPoP: 'proof',
    };
    const given = { headers, resumptionToken: 'e1' } as object;
    expect(sendOptions(modern('tools/call', { name: 'x' }), given)).toEqual({
      standsAlone: true,
      ownHeaders: {
        'mcp-param-region': 'eu',
        traceparent: '00-1',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tools/call',
        'mcp-name': 'x',
      },
    });
  });
});

describe('any other message', () => {
  test.each<[string, JSONRPCMessage]>([
    ['a request of the handshake era', old],
    ['a notification', { jsonrpc: '2.0', method: 'notifications/x', params: { _meta: {} } }],
    ['an answer', { jsonrpc: '2.0', id: 1, result: {} }],
    ['one with a version that is none', { ...modern('x'), params: { _meta: { [VERSION]: 1 } } }],
  ])('brings its own headers at most: %s', (_, message) => {
    expect(sendOptions(message, undefined)).toEqual({});
    const headers = { traceparent: '00-1', authorization: 'x' };
    expect(sendOptions(message, { headers } as object)).toEqual({
      ownHeaders: { traceparent: '00-1' },
    });
  });

  test('says what it resumes, and who is to be told of that', () => {
    const onresumptiontoken = (): void => {};
    const given = { resumptionToken: 'e1', onresumptiontoken };
    expect(sendOptions(old, given)).toEqual(given);
  });
});
