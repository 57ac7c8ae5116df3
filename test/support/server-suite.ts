// A real server over one transport, through the pool: everything that it lists and declares, on
// exclusive sessions and on one that leases share, and what is left of it afterwards (P2). The server
// is asked what it has: what the tables do not know fails.

import { InMemoryTaskStore } from '@modelcontextprotocol/sdk/experimental/tasks';
import type { ServerCapabilities } from '@modelcontextprotocol/sdk/types.js';
import { SessionPool, type SessionTarget } from 'mcp-session-pool';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { childProcesses, isAlive } from './process-table.ts';
import {
  type Check,
  type Heard,
  poolOptions,
  type Scene,
  type SessionCheck,
  withGuests,
} from './server-guests.ts';

/** What a server offers, with a check for each thing. */
export interface Offers {
  /** By the tool's name. Run at once. */
  readonly tools: Readonly<Record<string, Check>>;
  /** By the tool's name, those that change the session. Run one after the other. */
  readonly sessionTools: Readonly<Record<string, SessionCheck>>;
  readonly prompts: Readonly<Record<string, Check>>;
  readonly templates: Readonly<Record<string, Check>>;
  /** By the name of the capability: `resources.subscribe`. */
  readonly features: Readonly<Record<string, SessionCheck>>;
  /** By the name of the test. */
  readonly more: Readonly<Record<string, SessionCheck>>;
}

/** A server that was started for the tests, or will be by the pool. */
export interface ServerHost {
  readonly target: SessionTarget;
  /** See `Scene`. */
  readonly root?: string;
  close(): Promise<void>;
}

/** The server. */
export interface ServerUnderTest {
  readonly offers: Offers;
  /** See `Scene`. */
  readonly isOneChannel: boolean;
  start(): ServerHost | Promise<ServerHost>;
}

/** A task takes its four seconds, some news come every five, and the machine may be busy. */
const SLOW_MS = 60_000;

/** Defines the tests. */
export function describeServer({ offers, isOneChannel, start }: ServerUnderTest): void {
  describe.each([
    ['exclusive sessions', false],
    ['a session that leases share', true],
  ])('on %s', (_, isShared) => {
    const taskStore = new InMemoryTaskStore();
    let host: ServerHost;
    let scene: Scene;
    let before: readonly number[] = [];
    beforeAll(async () => {
      before = childProcesses();
      host = await start();
      const { target, root } = host;
      const poolHeard: Heard[] = [];
      const pool = new SessionPool({
        ...poolOptions(poolHeard, taskStore, root),
        // Shared: all of them on one session, whatever else runs.
        ...(isShared ? { maxSessionsPerKey: 1, leasesPerSession: 64 } : { maxSessionsPerKey: 4 }),
      });
      scene = { pool, target, root, poolHeard, isShared, isOneChannel };
    });
    // A second close of either is a no-op.
    afterAll(async () => {
      taskStore.cleanup();
      await scene?.pool.close();
      await host?.close();
    }, SLOW_MS);

    const onEach = (check: Check): Promise<void> =>
      withGuests(scene, async (guests) => void (await Promise.all(guests.map(check))));
    const onAll = (check: SessionCheck): Promise<void> => withGuests(scene, check);

    const all = (checks: Readonly<Record<string, Check>>): [string, Check][] =>
      Object.entries(checks);

    test('the tables know everything that the server offers', () => onAll(checkTables(offers)));

    describe.concurrent('at once', () => {
      test.for(all(offers.tools))('tool %s', { timeout: SLOW_MS }, ([, check]) => onEach(check));
      test.for(all(offers.prompts))('prompt %s', { timeout: SLOW_MS }, ([, check]) =>
        onEach(check),
      );
      test.for(all(offers.templates))('template %s', { timeout: SLOW_MS }, ([, check]) =>
        onEach(check),
      );
      test('every resource that is listed can be read', { timeout: SLOW_MS }, () =>
        onEach(readResources),
      );
    });

    describe('one after the other', () => {
      const one = (checks: Readonly<Record<string, SessionCheck>>): [string, SessionCheck][] =>
        Object.entries(checks);
      test.for(one(offers.sessionTools))('tool %s', { timeout: SLOW_MS }, ([, check]) =>
        onAll(check),
      );
      test.for(one(offers.features))('capability %s', { timeout: SLOW_MS }, ([, check]) =>
        onAll(check),
      );
      test.for(one(offers.more))('%s', { timeout: SLOW_MS }, ([, check]) => onAll(check));

      test('afterwards nothing is left of it', { timeout: SLOW_MS }, async () => {
        const { totals } = scene.pool.stats();
        expect(totals.lost).toBe(0);
        if (isShared) expect(totals.opened).toBe(1);
        const during = childProcesses().filter((pid) => !before.includes(pid));
        expect(during.length).toBeGreaterThan(0);
        const { sessions, closed, abandoned } = await scene.pool.close();
        expect({ abandoned, closed }).toEqual({ abandoned: 0, closed: sessions });
        await host.close();
        expect(during.filter(isAlive)).toEqual([]);
      });
    });
  });
}

/** Holds the tables against what the server says. */
function checkTables(offers: Offers): SessionCheck {
  return async ([{ client }]) => {
    const capabilities = client.getServerCapabilities();
    const { tools } = await client.listTools();
    expect(namesIn(tools)).toEqual(keysOf({ ...offers.tools, ...offers.sessionTools }));
    const { prompts } = capabilities?.prompts ? await client.listPrompts() : { prompts: [] };
    expect(namesIn(prompts)).toEqual(keysOf(offers.prompts));
    const { resourceTemplates } = capabilities?.resources
      ? await client.listResourceTemplates()
      : { resourceTemplates: [] };
    const templates = resourceTemplates.map(({ uriTemplate }) => uriTemplate);
    expect(templates.toSorted()).toEqual(keysOf(offers.templates));
    expect(featuresOf(capabilities)).toEqual(keysOf(offers.features));
  };
}

const readResources: Check = async ({ client }) => {
  if (!client.getServerCapabilities()?.resources) return;
  const { resources } = await client.listResources();
  expect(resources.length).toBeGreaterThan(0);
  for (const { uri, mimeType } of resources) {
    const { contents } = await client.readResource({ uri });
    expect(contents).toMatchObject([{ uri, mimeType }]);
    const [content] = contents as { text?: string; blob?: string }[];
    expect(content?.text ?? content?.blob).toMatch(/\w/);
  }
};

const keysOf = (table: object): string[] => Object.keys(table).toSorted();
const namesIn = (list: readonly { readonly name: string }[]): string[] =>
  list.map(({ name }) => name).toSorted();

/** The capabilities of a server, one name for each: `resources.subscribe`. */
function featuresOf(capabilities: ServerCapabilities | undefined): string[] {
  const walk = (value: unknown, path: string): string[] => {
    const members = typeof value === 'object' && value !== null ? Object.entries(value) : [];
    if (members.length === 0) return [path];
    const below = path === '' ? '' : `${path}.`;
    return members.flatMap(([name, member]) => walk(member, `${below}${name}`));
  };
  return walk(capabilities ?? {}, '').toSorted();
}
