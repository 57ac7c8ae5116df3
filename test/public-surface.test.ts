// Pins what people build on: the names that the package exports, its error codes, its event types,
// its options. A change here is a change of the public contract and belongs in CHANGELOG.md.

import { readFileSync } from 'node:fs';
import * as surface from 'mcp-session-pool';
import * as testing from 'mcp-session-pool/testing';
import * as surface2 from 'mcp-session-pool/v2';
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
    'StdioError',
    'StreamableHttpTransport',
    'closeOnSignals',
    'createFence',
    'createTransportConnector',
  ]);
});

test('the entry for SDK 2 exports these values and no others', () => {
  expect(Object.keys(surface2).sort()).toEqual([
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
    'StdioError',
    'closeOnSignals',
    'v2Connector',
    'v2TransportConnector',
  ]);
  expect(surface2.SessionPool).toBe(surface.SessionPool);
  expect(surface2.SessionPoolError).toBe(surface.SessionPoolError);
  expect(membersOf('src/v2/connector.ts', 'V2ConnectorOptions')).toEqual([
    'clientOptions',
    'responseCacheStore',
    'versionNegotiation',
  ]);
});

test('the testing kit exports these values and no others', () => {
  expect(Object.keys(testing).sort()).toEqual([
    'HOSTILE_SERVERS',
    'ManualClock',
    'deafFetch',
    'floodBody',
    'gatedConnector',
    'hostileServer',
    'hungBody',
    'hungConnector',
    'leftovers',
    'recordEvents',
  ]);
});

test('the testing kit exports these types', () => {
  expect(typesOf('src/testing/index.ts')).toMatchInlineSnapshot(`
    [
      "AnsweredCall",
      "EventOf",
      "EventRecorder",
      "FakeClient",
      "FakeSession",
      "Gate",
      "GateChooser",
      "GatedConnector",
      "GatedConnectorOptions",
      "Gates",
      "HostileServer",
      "HostileServerInfo",
      "HostileServerName",
      "HostileServerOptions",
      "Leftover",
      "MakeBody",
      "PeerCall",
      "RecordedCall",
      "SeenMessage",
      "SeenRequest",
      "SyncGate",
    ]
  `);
});

test('the names of hostile servers are stable', () => {
  expect(literalsOf('src/testing/hostile-names.ts', 'HostileServerName')).toMatchInlineSnapshot(`
    [
      "refuses-connections",
      "resets-connections",
      "black-hole",
      "initialized-unanswered",
      "accepted-never-ends",
      "bad-session-id",
      "unauthorized",
      "forbidden",
      "rate-limited",
      "unavailable",
      "redirects-elsewhere",
      "answers-html",
      "error-never-ends",
      "get-ends-at-once",
      "get-retry-overflow",
      "get-never-answers",
      "get-flaps-then-hangs",
      "get-floods",
      "get-endless-line",
      "never-ends",
      "call-unanswered",
      "call-cut",
      "call-reset",
      "call-accepted",
      "call-garbage",
      "call-floods",
      "call-endless-line",
      "resume-refused",
      "resume-never-ends",
      "keeps-stream-open",
      "duplicate-answers",
      "wrong-ids",
      "session-forgotten",
      "session-forgotten-400",
      "delete-unanswered",
      "asks-nobody",
      "sse-no-endpoint",
      "sse-drops",
      "sse-retry-zero",
    ]
  `);
});

test('the package exports these types', () => {
  expect(typesOf('src/index.ts')).toMatchInlineSnapshot(`
    [
      "AcquireOptions",
      "AcquirePhase",
      "AskHeaders",
      "BreakerRules",
      "CircuitCounts",
      "CircuitOpenReason",
      "Clock",
      "ClosablePool",
      "CloseOnSignalsOptions",
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
      "MakeTransport",
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
      "SessionTransport",
      "StdioFailureCode",
      "StdioFailureDetails",
      "StdioTarget",
      "StreamEnd",
      "StreamableHttpTransportOptions",
      "TeardownOutcome",
      "Timer",
      "Totals",
      "TransportConnectorOptions",
      "TransportContext",
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

test('the package has two entries, in ESM, with types, and one module with a side effect', () => {
  const manifest = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as object;
  expect(manifest).toMatchObject({
    type: 'module',
    exports: {
      '.': { types: './dist/index.d.ts', default: './dist/index.js' },
      './v2': { types: './dist/v2/index.d.ts', default: './dist/v2/index.js' },
      './testing': { types: './dist/testing/index.d.ts', default: './dist/testing/index.js' },
      './package.json': './package.json',
    },
    sideEffects: ['./dist/host-fetch-guard.js', './src/host-fetch-guard.ts'],
    engines: { node: '>=20.19.0' },
  });
});

test('the first import of the package keeps the host fetch on its own dispatcher', () => {
  for (const entry of ['src/index.ts', 'src/v2/index.ts']) {
    const index = sources.find((file) => file.path === entry);
    expect(index?.imports[0]).toMatchObject({ from: 'src/host-fetch-guard.ts', ofValues: true });
  }
});

/** The types that an entry exports, in alphabetical order. */
function typesOf(entry: string): string[] {
  const index = sources.find((file) => file.path === entry);
  const names: string[] = [];
  for (const node of index === undefined ? [] : nodesOf(index.tree)) {
    if (node.type !== 'ExportNamedDeclaration') continue;
    for (const each of node['specifiers'] as SyntaxNode[]) {
      if (node['exportKind'] === 'type' || each['exportKind'] === 'type') {
        names.push((each['exported'] as { name: string }).name);
      }
    }
  }
  return names.sort();
}

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
