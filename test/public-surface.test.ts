// Pins what people build on: the names that the package exports, its error codes, its event types,
// its options. A change here is a change of the public contract and belongs in CHANGELOG.md.

import { readFileSync } from 'node:fs';
import * as surface from 'mcp-session-pool';
import { expect, test } from 'vitest';
import { nodesOf, readSources, type SyntaxNode } from './support/source-files.ts';

const root = new URL('../', import.meta.url);
const sources = readSources('src');

test('the package exports these values and no others', () => {
  expect(Object.keys(surface).sort()).toEqual([
    'AcquireTimeoutError',
    'CircuitOpenError',
    'HttpRequestError',
    'IdentityRequiredError',
    'InvariantError',
    'LeaseReleasedError',
    'OpenError',
    'PoolClosedError',
    'PoolSaturatedError',
    'SessionLostError',
    'SessionPool',
    'SessionPoolError',
    'StreamableHttpTransport',
    'createFence',
  ]);
});

test('the package exports these types', () => {
  const index = sources.find((file) => file.path === 'src/index.ts');
  const names: string[] = [];
  for (const node of index === undefined ? [] : nodesOf(index.tree)) {
    if (node.type !== 'ExportNamedDeclaration') continue;
    for (const each of node['specifiers'] as SyntaxNode[]) {
      if (node['exportKind'] === 'type' || each['exportKind'] === 'type') {
        names.push((each['exported'] as { name: string }).name);
      }
    }
  }
  expect(names.sort()).toMatchInlineSnapshot(`
    [
      "AcquireOptions",
      "AcquirePhase",
      "AskHeaders",
      "BreakerRules",
      "CircuitCounts",
      "CircuitOpenReason",
      "Clock",
      "CloseOptions",
      "CloseReport",
      "ConnectContext",
      "Connection",
      "Connector",
      "CustomTarget",
      "DispatcherSource",
      "EventSink",
      "Execution",
      "Failure",
      "Fence",
      "FenceOptions",
      "HeaderRecord",
      "HeaderSource",
      "HttpFailureCode",
      "HttpFailureDetails",
      "HttpMessageExtra",
      "HttpSendOptions",
      "HttpTarget",
      "KeyCounts",
      "KeyStats",
      "Lease",
      "LeaseContext",
      "LeaseEndReason",
      "Logger",
      "OpenErrorDetails",
      "OpenFailureKind",
      "PoolEvent",
      "PoolNotificationHandler",
      "PoolRequestContext",
      "PoolRequestHandler",
      "PoolStats",
      "RetireFilter",
      "RetireOptions",
      "RetireReason",
      "RungResult",
      "Scope",
      "ServerAnswer",
      "ServerMessageSource",
      "ServerNotificationHandler",
      "ServerRequestContext",
      "ServerRequestHandler",
      "SessionCounts",
      "SessionFilter",
      "SessionHandlers",
      "SessionInfo",
      "SessionPoolEnvironment",
      "SessionPoolErrorCode",
      "SessionPoolOptions",
      "SessionSettings",
      "SessionTarget",
      "StdioTarget",
      "StreamEnd",
      "StreamableHttpTransportOptions",
      "TeardownOutcome",
      "Timer",
      "Totals",
      "UseOptions",
      "WarmOptions",
      "WarmReport",
    ]
  `);
});

test('error codes are stable', () => {
  expect(literalsOf('src/errors.ts', 'SessionPoolErrorCode')).toEqual([
    'POOL_CLOSED',
    'POOL_SATURATED',
    'ACQUIRE_TIMEOUT',
    'CIRCUIT_OPEN',
    'OPEN_FAILED',
    'SESSION_LOST',
    'LEASE_RELEASED',
    'IDENTITY_REQUIRED',
  ]);
});

test('event types are stable', () => {
  const events = declaration('src/observe/events.ts', 'PoolEvent');
  const types = [...nodesOf(events)].flatMap((node) => {
    if (node.type === 'TSTypeReference' && nameOf(node['typeName']) === 'Of') {
      return literalsIn(node);
    }
    const isType = node.type === 'TSPropertySignature' && nameOf(node['key']) === 'type';
    return isType ? literalsIn(node) : [];
  });
  expect(types).toEqual([
    'session-opened',
    'session-open-failed',
    'session-probed',
    'session-trouble',
    'stream-slowed',
    'session-retired',
    'session-closed',
    'session-abandoned',
    'lease-granted',
    'lease-ended',
    'lease-leaking',
    'acquire-rejected',
    'circuit-opened',
    'circuit-half-opened',
    'circuit-closed',
    'pool-closing',
    'pool-closed',
  ]);
});

test('option names are stable', () => {
  expect(membersOf('src/options.ts', 'SessionPoolOptions')).toMatchInlineSnapshot(`
    [
      "acquireTimeoutMs",
      "affinityIdleTimeoutMs",
      "breaker",
      "capabilities",
      "clientInfo",
      "clientOptions",
      "closeTimeoutMs",
      "connectTimeoutMs",
      "connector",
      "dispatcher",
      "idleTimeoutMs",
      "keepAliveMs",
      "leakWarningMs",
      "leasesPerSession",
      "logger",
      "maxKeys",
      "maxLeaseMs",
      "maxLifetimeMs",
      "maxMessageBytes",
      "maxOpeningPerKey",
      "maxSessions",
      "maxSessionsPerKey",
      "maxWaitersPerKey",
      "onEvent",
      "onNotification",
      "onRequest",
      "probeAfterIdleMs",
      "probeTimeoutMs",
      "requireIdentity",
    ]
  `);
});

test('the package has one entry, in ESM, with types, and one module with a side effect', () => {
  const manifest = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as object;
  expect(manifest).toMatchObject({
    type: 'module',
    exports: {
      '.': { types: './dist/index.d.ts', default: './dist/index.js' },
      './package.json': './package.json',
    },
    sideEffects: ['./dist/host-fetch-guard.js', './src/host-fetch-guard.ts'],
    engines: { node: '>=20.19.0' },
  });
});

test('the first import of the package keeps the host fetch on its own dispatcher', () => {
  const index = sources.find((file) => file.path === 'src/index.ts');
  expect(index?.imports[0]).toMatchObject({ from: 'src/host-fetch-guard.ts', ofValues: true });
});

function declaration(path: string, name: string): SyntaxNode {
  const tree = sources.find((file) => file.path === path)?.tree;
  const found = tree && [...nodesOf(tree)].find((node) => nameOf(node['id']) === name);
  if (!found) throw new Error(`${path} declares no ${name}`);
  return found;
}

function membersOf(path: string, name: string): string[] {
  const body = declaration(path, name)['body'] as { body: SyntaxNode[] };
  return body.body.map((member) => nameOf(member['key'])).sort();
}

function literalsOf(path: string, name: string): string[] {
  return literalsIn(declaration(path, name));
}

function literalsIn(node: SyntaxNode): string[] {
  return [...nodesOf(node)]
    .filter((each) => each.type === 'Literal')
    .map((each) => String(each['value']));
}

function nameOf(node: unknown): string {
  return String((node as { name?: unknown } | undefined)?.name);
}
