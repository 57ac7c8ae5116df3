// The tools of server-memory, its one resource, and for each a check that it works through a lease.
// They run one after the other: it rewrites its file with every change, and two changes at once lose
// one. Knows no transport.

import { expect } from 'vitest';
import { textOf } from './http-sessions.ts';
import { type Guest, hear, type SessionCheck } from './server-guests.ts';
import type { Offers } from './server-suite.ts';

const GRAPH = 'memory://knowledge-graph';
const UPDATED = 'notifications/resources/updated';

interface Entity {
  readonly name: string;
  readonly entityType: string;
  readonly observations: readonly string[];
}
interface Graph {
  readonly entities: readonly Entity[];
  readonly relations: readonly object[];
}

/** Two entities that are nobody else's, and a relation between them. */
class Pair {
  readonly guest: Guest;
  readonly one: string = crypto.randomUUID();
  readonly two: string = crypto.randomUUID();

  constructor(guest: Guest) {
    this.guest = guest;
  }

  get entities(): Entity[] {
    return [this.one, this.two].map((name) => ({
      name,
      entityType: 'test',
      observations: [`${name} is new`],
    }));
  }

  get relation(): object {
    return { from: this.one, to: this.two, relationType: 'knows' };
  }

  async create(): Promise<this> {
    await call(this.guest, 'create_entities', { entities: this.entities });
    await call(this.guest, 'create_relations', { relations: [this.relation] });
    return this;
  }

  /** What the server knows of them. */
  async known(): Promise<Graph> {
    return (await call(this.guest, 'open_nodes', { names: [this.one, this.two] })) as Graph;
  }
}

/** The check, with a pair, for one guest after the other. */
const onPairs =
  (run: (pair: Pair) => Promise<void>): SessionCheck =>
  async (guests) => {
    for (const guest of guests) await run(await new Pair(guest).create());
  };

const TOOLS: Readonly<Record<string, SessionCheck>> = {
  create_entities: onPairs(async ({ guest, entities }) => {
    const fresh = { name: crypto.randomUUID(), entityType: 'test', observations: [] };
    const args = { entities: [...entities, fresh] };
    // Those that it knows it does not create.
    expect(await call(guest, 'create_entities', args)).toEqual({ entities: [fresh] });
  }),
  create_relations: onPairs(async ({ guest, one, two, relation }) => {
    const back = { from: two, to: one, relationType: 'knows' };
    const created = await call(guest, 'create_relations', { relations: [relation, back] });
    expect(created).toEqual({ relations: [back] });
  }),
  add_observations: onPairs(async (pair) => {
    const observations = [{ entityName: pair.one, contents: ['grew'] }];
    const added = await call(pair.guest, 'add_observations', { observations });
    expect(added).toEqual({ results: [{ entityName: pair.one, addedObservations: ['grew'] }] });
    expect((await pair.known()).entities[0]?.observations).toContain('grew');
    const nobody = { observations: [{ entityName: 'nobody', contents: ['x'] }] };
    const refused = await pair.guest.call('add_observations', nobody);
    expect(refused.isError).toBe(true);
    expect(textOf(refused)).toContain('Entity with name nobody not found');
  }),
  delete_observations: onPairs(async (pair) => {
    const deletions = [{ entityName: pair.one, observations: [`${pair.one} is new`] }];
    await call(pair.guest, 'delete_observations', { deletions });
    expect((await pair.known()).entities[0]?.observations).toEqual([]);
  }),
  delete_relations: onPairs(async (pair) => {
    expect((await pair.known()).relations).toEqual([pair.relation]);
    await call(pair.guest, 'delete_relations', { relations: [pair.relation] });
    expect((await pair.known()).relations).toEqual([]);
  }),
  delete_entities: onPairs(async (pair) => {
    await call(pair.guest, 'delete_entities', { entityNames: [pair.one] });
    expect((await pair.known()).entities.map(({ name }) => name)).toEqual([pair.two]);
  }),
  read_graph: onPairs(async ({ guest, entities, relation }) => {
    const { relations, entities: all } = (await call(guest, 'read_graph', {})) as Graph;
    expect(all).toEqual(expect.arrayContaining(entities));
    expect(relations).toContainEqual(relation);
  }),
  search_nodes: onPairs(async ({ guest, one, entities }) => {
    const found = (await call(guest, 'search_nodes', { query: `${one} is NEW` })) as Graph;
    expect(found.entities).toEqual([entities[0]]);
  }),
  open_nodes: onPairs(async (pair) => {
    const { entities, relations } = await pair.known();
    expect(entities).toEqual(pair.entities);
    expect(relations).toEqual([pair.relation]);
  }),
};

/** All of it. */
export const memoryOffers: Offers = {
  tools: {},
  sessionTools: TOOLS,
  prompts: {},
  templates: {},
  features: {
    'resources.subscribe': async (guests) => {
      const [first] = guests;
      await first.client.subscribeResource({ uri: GRAPH });
      const pair = await new Pair(first).create();
      for (const { heard } of guests) await hear(heard, UPDATED, GRAPH);
      const { contents } = await first.client.readResource({ uri: GRAPH });
      expect((contents[0] as { text?: string }).text).toContain(pair.one);
      await first.client.unsubscribeResource({ uri: GRAPH });
      const before = first.heard.length;
      // Its answer comes after what it would have said before.
      await pair.create();
      await first.client.ping();
      expect(first.heard.slice(before)).toEqual([]);
    },
    // Declared, and never sent: its one resource and its tools are there from the start.
    'resources.listChanged': async ([{ client }]) => {
      const { resources } = await client.listResources();
      expect(resources.map(({ uri }) => uri)).toEqual([GRAPH]);
    },
    'tools.listChanged': async ([{ client }]) => {
      expect((await client.listTools()).tools).toHaveLength(Object.keys(TOOLS).length);
    },
  },
  more: {},
};

async function call(guest: Guest, name: string, args: Record<string, unknown>): Promise<unknown> {
  const result = await guest.call(name, args);
  expect(result.isError).not.toBe(true);
  return result.structuredContent;
}
