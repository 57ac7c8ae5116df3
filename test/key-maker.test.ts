// Identity and key: who shares a session with whom. It fails closed where credentials can't be seen,
// follows a target that its owner changes, and keeps every secret out of keys, labels and errors.

import { describe, expect, test } from 'vitest';
import { KeyMaker, type TargetKey } from '../src/key-maker.ts';
import type { SessionTarget } from '../src/target.ts';
import { makePool } from './support/pool-fixture.ts';

const url = 'https://one.example/mcp';
const DEFAULTS = {
  clientInfo: { name: 'a', version: '1' },
  capabilities: {},
  requireIdentity: false,
};
const maker = new KeyMaker(DEFAULTS);
const idOf = (target: unknown): string => maker.keyOf(target as SessionTarget).id;
const connect = () => Promise.reject(new Error('never called'));

describe('two targets share a key', () => {
  test.each([
    { name: 'said twice', one: { url }, other: { url } },
    { name: 'as URL and as text', one: { url }, other: { url: new URL(url) } },
    { name: 'with the default port', one: { url }, other: { url: 'https://one.example:443/mcp' } },
    { name: 'in upper case', one: { url }, other: { url: 'HTTPS://ONE.EXAMPLE/mcp' } },
    { name: 'with a fragment, which is never sent', one: { url }, other: { url: `${url}#x` } },
    {
      name: 'with headers in another order and case',
      one: { url, headers: { Authorization: 'x', accept2: 'y' } },
      other: { url, headers: { ACCEPT2: 'y', authorization: 'x' } },
    },
    {
      name: 'of one identity, whatever the headers',
      one: { url, identity: 'ada', headers: { authorization: 'old' } },
      other: { url, identity: 'ada', headers: { authorization: 'new' } },
    },
    {
      name: 'of one identity, with a headers function',
      one: { url, identity: 'ada', headers: () => ({}) },
      other: { url, identity: 'ada' },
    },
    {
      name: 'with the default transport named',
      one: { url },
      other: { url, transport: 'streamable-http' },
    },
    {
      name: 'with the default client info named',
      one: { url },
      other: { url, clientInfo: { version: '1', name: 'a' } },
    },
    {
      name: 'as a command',
      one: { command: 'node', args: ['x'] },
      other: { command: 'node', args: ['x'] },
    },
    {
      name: 'as a custom server of one identity',
      one: { server: 's', connect, identity: 'ada' },
      other: { server: 's', connect: () => connect(), identity: 'ada' },
    },
  ])('$name', ({ one, other }) => {
    expect(idOf(one)).toBe(idOf(other));
  });
});

describe('two targets do not share a key (I8)', () => {
  test.each([
    { name: 'by path', one: { url }, other: { url: `${url}/` } },
    { name: 'by origin', one: { url }, other: { url: 'http://one.example/mcp' } },
    { name: 'by query', one: { url: `${url}?a` }, other: { url: `${url}?b` } },
    {
      name: 'by query of one identity',
      one: { url: `${url}?a`, identity: 'i' },
      other: { url: `${url}?b`, identity: 'i' },
    },
    {
      name: 'by user info',
      one: { url: 'https://a:b@one.example/mcp' },
      other: { url: 'https://a:c@one.example/mcp' },
    },
    {
      name: 'by a header’s value',
      one: { url, headers: { a: '1' } },
      other: { url, headers: { a: '2' } },
    },
    {
      name: 'by a header’s value’s case',
      one: { url, headers: { a: 'x' } },
      other: { url, headers: { a: 'X' } },
    },
    {
      name: 'by a header’s name',
      one: { url, headers: { a: '1' } },
      other: { url, headers: { b: '1' } },
    },
    { name: 'by having headers', one: { url }, other: { url, headers: { a: '' } } },
    {
      name: 'by where one header ends',
      one: { url, headers: { a: 'b,c' } },
      other: { url, headers: { a: 'b', c: '' } },
    },
    { name: 'by identity', one: { url, identity: 'ada' }, other: { url, identity: 'bob' } },
    { name: 'by having an identity', one: { url }, other: { url, identity: 'ada' } },
    { name: 'by affinity', one: { url, affinity: 'a' }, other: { url, affinity: 'b' } },
    { name: 'by having affinity', one: { url }, other: { url, affinity: 'a' } },
    {
      name: 'by an identity that looks like an affinity',
      one: { url, identity: 'a' },
      other: { url, affinity: 'a' },
    },
    { name: 'by transport', one: { url }, other: { url, transport: 'sse' } },
    { name: 'by leaving it open', one: { url }, other: { url, transport: 'auto' } },
    {
      name: 'by leaving it open or not',
      one: { url, transport: 'sse' },
      other: { url, transport: 'auto' },
    },
    { name: 'by a notification stream', one: { url }, other: { url, notifications: true } },
    { name: 'by leases per session', one: { url }, other: { url, leasesPerSession: 2 } },
    {
      name: 'by client info',
      one: { url },
      other: { url, clientInfo: { name: 'b', version: '1' } },
    },
    { name: 'by capabilities', one: { url }, other: { url, capabilities: { roots: {} } } },
    { name: 'by command', one: { command: 'a' }, other: { command: 'b' } },
    {
      name: 'by arguments',
      one: { command: 'a', args: ['b', 'c'] },
      other: { command: 'a', args: ['b c'] },
    },
    {
      name: 'by environment',
      one: { command: 'a', env: { T: '1' } },
      other: { command: 'a', env: { T: '2' } },
    },
    {
      name: 'by environment of one identity',
      one: { command: 'a', identity: 'i', env: { T: '1' } },
      other: { command: 'a', identity: 'i', env: { T: '2' } },
    },
    { name: 'by directory', one: { command: 'a', cwd: '/a' }, other: { command: 'a', cwd: '/b' } },
    {
      name: 'by kind',
      one: { command: 'a', identity: 'i' },
      other: { server: 'a', connect, identity: 'i' },
    },
    {
      name: 'by server',
      one: { server: 'a', connect, identity: 'i' },
      other: { server: 'b', connect, identity: 'i' },
    },
  ])('that differ $name', ({ one, other }) => {
    expect(idOf(one)).not.toBe(idOf(other));
    // And again, from whatever was remembered.
    expect(idOf(one)).not.toBe(idOf(other));
  });

  test('though one object is changed between acquires', () => {
    const target: Record<string, unknown> = { url, headers: { authorization: 'a' } };
    const seen = new Set([idOf(target)]);
    const changes: (() => void)[] = [
      () => {
        (target['headers'] as Record<string, string>)['authorization'] = 'b';
      },
      () => {
        (target['headers'] as Record<string, string>)['x'] = 'c';
      },
      () => {
        delete (target['headers'] as Record<string, string>)['authorization'];
      },
      () => {
        target['headers'] = { x: 'd' };
      },
      () => {
        target['identity'] = 'ada';
      },
      () => {
        target['identity'] = 'bob';
      },
      () => {
        target['affinity'] = 'z';
      },
      () => {
        target['url'] = new URL('https://two.example/mcp');
      },
      () => {
        (target['url'] as URL).searchParams.set('key', 'k');
      },
      () => {
        target['transport'] = 'sse';
      },
      () => {
        target['notifications'] = true;
        delete target['affinity'];
      },
      () => {
        target['leasesPerSession'] = 3;
      },
      () => {
        target['clientInfo'] = { name: 'b', version: '2' };
      },
      () => {
        target['capabilities'] = { roots: {} };
      },
    ];
    for (const [index, change] of changes.entries()) {
      idOf(target);
      change();
      const id = idOf(target);
      expect([index, seen.has(id)]).toEqual([index, false]);
      seen.add(id);
    }
  });

  test('though headers are put on a target that had none', () => {
    const target: Record<string, unknown> = { url };
    const bare = idOf(target);
    target['headers'] = { authorization: 'a' };
    expect(idOf(target)).not.toBe(bare);
    target['headers'] = () => ({});
    expect(() => idOf(target)).toThrow(expect.objectContaining({ code: 'IDENTITY_REQUIRED' }));
    delete target['headers'];
    expect(idOf(target)).toBe(bare);
  });

  test('though their keys were forgotten meanwhile', () => {
    const ids = new Set(
      Array.from({ length: 25_000 }, (_, index) => idOf({ url, identity: `u${index}` })),
    );
    expect(ids.size).toBe(25_000);
    expect(ids.has(idOf({ url, identity: 'u7' }))).toBe(true);
  });

  test('checks a remembered target’s headers anew', () => {
    const target = { url, identity: 'ada', headers: { a: '1' } as Record<string, string> };
    idOf(target);
    target.headers['mcp-session-id'] = 'smuggled';
    expect(() => idOf(target)).toThrow(/belongs to the transport/);
  });
});

describe('a target whose credentials can’t be seen', () => {
  test.each([
    { name: 'a headers function', target: { url, headers: () => ({}) } },
    { name: 'an authProvider', target: { url, authProvider: {} } },
    { name: 'a custom connect', target: { server: 's', connect } },
  ])('needs an identity: $name', ({ target }) => {
    expect(() => idOf(target)).toThrow(expect.objectContaining({ code: 'IDENTITY_REQUIRED' }));
    expect(() => idOf({ ...target, identity: 'ada' })).not.toThrow();
  });

  test('is any without an identity under requireIdentity', () => {
    const strict = new KeyMaker({ ...DEFAULTS, requireIdentity: true });
    for (const target of [{ url }, { command: 'a' }]) {
      expect(() => strict.keyOf(target)).toThrow(
        expect.objectContaining({ code: 'IDENTITY_REQUIRED' }),
      );
      expect(() => strict.keyOf({ ...target, identity: 'ada' })).not.toThrow();
    }
  });

  test('loses no identity once it was seen with one', () => {
    const target: Record<string, unknown> = { url, identity: 'ada', headers: () => ({}) };
    idOf(target);
    delete target['identity'];
    expect(() => idOf(target)).toThrow(expect.objectContaining({ code: 'IDENTITY_REQUIRED' }));
  });
});

describe('a malformed target', () => {
  test.each([
    null,
    undefined,
    5,
    'https://one.example',
    [],
    {},
    { url: '' },
    { url: '/mcp' },
    { url: 'ws://one.example' },
    { url: 5 },
    { url: ' javascript:alert(1)' },
    { url, identity: '' },
    { url, identity: 5 },
    { url, affinity: '' },
    { url, affinity: null },
    { url, leasesPerSession: 0 },
    { url, leasesPerSession: 1.5 },
    { url, leasesPerSession: Number.POSITIVE_INFINITY },
    { url, transport: 'stdio' },
    { url, headers: 'x' },
    { url, headers: null },
    { url, headers: [] },
    { url, headers: new Map() },
    { url, headers: new Headers() },
    { url, headers: { 'a b': 'x' } },
    { url, headers: { a: 5 } },
    { url, headers: { a: 'x\r\ny: z' } },
    { url, headers: { 'Mcp-Session-Id': 'x' } },
    { url, headers: { HOST: 'x' } },
    { command: '' },
    { command: 5 },
    { server: 's' },
    { connect },
    { server: '', connect, identity: 'i' },
    { server: 's', connect: 5, identity: 'i' },
  ])('throws before anything else happens: %j', (target) => {
    expect(() => idOf(target)).toThrow(/Expected|belongs/);
  });
});

describe('what is shown of a key', () => {
  const CANARIES = [
    'canary-header',
    'canary-user',
    'canary-password',
    'canary-query',
    'canary-env',
    'canary-arg',
  ];
  const targets: SessionTarget[] = [
    {
      url: 'https://canary-user:canary-password@one.example/mcp?key=canary-query',
      headers: { authorization: 'canary-header' },
    },
    {
      url: 'https://canary-user:canary-password@one.example/mcp?key=canary-query',
      identity: 'ada',
      headers: { authorization: 'canary-header' },
    },
    { command: 'node', args: ['--token=canary-arg'], env: { TOKEN: 'canary-env' } },
  ];

  test.each(targets)('holds no credential', (target) => {
    const key: TargetKey = maker.keyOf(target);
    for (const canary of CANARIES) expect(JSON.stringify(key)).not.toContain(canary);
  });

  test('is an opaque label that another process does not share', () => {
    const [one, other] = [new KeyMaker(DEFAULTS), new KeyMaker(DEFAULTS)];
    const target = { url, headers: { authorization: 'x' } };
    expect(one.keyOf(target).label).toMatch(/^[\w-]{12}$/);
    expect(one.keyOf({ ...target }).label).toBe(one.keyOf(target).label);
    expect(one.keyOf(target).label).not.toBe(other.keyOf(target).label);
    expect(one.keyOf(target).id).not.toBe(other.keyOf(target).id);
  });

  test('is the origin of the server, its command, or its name', () => {
    const servers = [...targets, { server: 's', connect, identity: 'i' }].map(
      (target) => maker.keyOf(target).server,
    );
    expect(servers).toEqual(['https://one.example', 'https://one.example', 'node', 's']);
  });

  test('is nothing secret in an error about a bad target either', () => {
    const bad = [
      { url: 'ftp://canary-user:canary-password@one.example' },
      { url: 'canary-query not a url' },
      { url, headers: { authorization: 'canary-header\n' } },
      { url, headers: { 'canary-header \n': 'x' } },
      { url, headers: { authorization: ['canary-header'] } },
      { url, identity: { secret: 'canary-user' } },
    ];
    for (const target of bad) {
      let error: unknown;
      try {
        idOf(target);
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(TypeError);
      expect(`${(error as Error).message} ${JSON.stringify(error)}`).not.toContain('canary');
    }
  });
});

test('a target of the caller’s own connector is opened by that connector', async () => {
  const { pool, connector, clock } = makePool();
  const other = makePool({ clock });
  const target = { server: 's', identity: 'ada', connect: other.connector.connect };
  await pool.use(target, (client) => client.call());
  expect(connector.sessions).toHaveLength(0);
  expect(other.connector.sessions).toHaveLength(1);
});
