// Leases of sessions of a real server whose clients answer everything that the server asks, each in
// its own name, and note what they hear. A check finds the name of whoever answered.

import type { InMemoryTaskStore } from '@modelcontextprotocol/sdk/experimental/tasks';
import {
  type ClientCapabilities,
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceListChangedNotificationSchema,
  ResourceUpdatedNotificationSchema,
  type Result,
} from '@modelcontextprotocol/sdk/types.js';
import type { Lease, SessionPool, SessionPoolOptions, SessionTarget } from 'mcp-session-pool';
import { until } from './raw-server.ts';

/** The name that the pool itself answers in. */
export const POOL = 'the-pool';

/** All that a client can declare: the server then offers all that it has. */
const CAPABILITIES: ClientCapabilities = {
  sampling: {},
  elicitation: { form: {}, url: {} },
  roots: { listChanged: true },
  tasks: {
    list: {},
    cancel: {},
    requests: { sampling: { createMessage: {} }, elicitation: { create: {} } },
  },
};

/** A notification of the server. */
export interface Heard {
  readonly method: string;
  readonly params?: unknown;
}

/** How one server is met. */
export interface Scene {
  readonly pool: SessionPool;
  readonly target: SessionTarget;
  /** What the pool's own handler heard. */
  readonly poolHeard: readonly Heard[];
  readonly isShared: boolean;
  /**
   * The server has one channel for everything (stdio, SSE): what it asks in the middle of a call
   * does not say so, and what it says before there is a lease is heard.
   */
  readonly isOneChannel: boolean;
  /** The root that everybody names. Default: each one of its own. */
  readonly root?: string | undefined;
}

/** What the pool of a scene is made with. `heard`: where its own handler notes what it hears. */
export function poolOptions(
  heard: Heard[],
  taskStore: InMemoryTaskStore,
  root: string | undefined,
): SessionPoolOptions {
  return {
    capabilities: CAPABILITIES,
    // For servers that let their client work in the background.
    clientOptions: { taskStore },
    onRequest: ({ method, params }) => answerAs(POOL, method, params, root),
    onNotification: (notification) => void heard.push(notification),
  };
}

/** A check of something that every lease of a session has for itself. */
export type Check = (guest: Guest) => Promise<void>;
/** A check of something that all leases of a session have in common: they are all given. */
export type SessionCheck = (guests: readonly [Guest, ...Guest[]]) => Promise<void>;

/** What the server says every 5 s, and the time that a busy machine takes to hear it. */
export const PACED_MS = 15_000;

/** Waits until `heard` has a notification that holds `part`. */
export function hear(heard: readonly Heard[], method: string, part = ''): Promise<void> {
  const isIt = (each: Heard): boolean =>
    each.method === method && JSON.stringify(each).includes(part);
  return until(() => heard.some(isIt), PACED_MS);
}

/** One lease. */
export class Guest {
  readonly lease: Lease;
  readonly name: string;
  readonly heard: Heard[] = [];
  readonly asked: string[] = [];
  readonly scene: Scene;

  constructor(lease: Lease, name: string, scene: Scene) {
    this.lease = lease;
    this.name = name;
    this.scene = scene;
    this.#answer();
    this.#listen();
  }

  get client(): Lease['client'] {
    return this.lease.client;
  }

  /** In whose name the server is answered that asks in the middle of a call of this guest. */
  get answersCalls(): string {
    const { isShared, isOneChannel } = this.scene;
    return isShared && isOneChannel ? POOL : this.name;
  }

  /** In whose name it is answered when it asks on its own. */
  get answersSession(): string {
    return this.scene.isShared ? POOL : this.name;
  }

  /** Where that arrives which the server says to nobody in particular. */
  get hears(): readonly Heard[] {
    return this.scene.isShared ? this.scene.poolHeard : this.heard;
  }

  call(name: string, args: Record<string, unknown> = {}): ReturnType<Lease['client']['callTool']> {
    return this.client.callTool({ name, arguments: args });
  }

  #answer(): void {
    const { client, name, scene } = this;
    const answer = (method: string, params: unknown): Result => {
      this.asked.push(method);
      return answerAs(name, method, params, scene.root);
    };
    client.setRequestHandler(ListRootsRequestSchema, ({ method, params }) =>
      answer(method, params),
    );
    for (const schema of [ElicitRequestSchema, CreateMessageRequestSchema]) {
      client.setRequestHandler(schema, async ({ method, params }, { taskStore }) => {
        const result = answer(method, params);
        if (params.task === undefined || taskStore === undefined) return result;
        const task = await taskStore.createTask({ ttl: 60_000 });
        await taskStore.storeTaskResult(task.taskId, 'completed', result);
        return { task };
      });
    }
  }

  #listen(): void {
    const note = (notification: Heard): void => void this.heard.push(notification);
    this.client.setNotificationHandler(LoggingMessageNotificationSchema, note);
    this.client.setNotificationHandler(ResourceListChangedNotificationSchema, note);
    this.client.setNotificationHandler(ResourceUpdatedNotificationSchema, note);
  }
}

/** Runs `work` with a lease of its own, or with two of one session where sessions are shared. */
export async function withGuests(scene: Scene, work: SessionCheck): Promise<void> {
  const leases = [await scene.pool.acquire(scene.target)];
  try {
    if (scene.isShared) leases.push(await scene.pool.acquire(scene.target));
    const names = leases.map((_, n) => `guest-${n}-${crypto.randomUUID().slice(0, 8)}`);
    const [first, ...others] = leases.map((lease, n) => new Guest(lease, names[n]!, scene));
    await work([first!, ...others]);
  } finally {
    for (const lease of leases) lease.release();
  }
}

function answerAs(
  name: string,
  method: string,
  params: unknown,
  root: string = `file:///${name}`,
): Result {
  if (method === 'roots/list') return { roots: [{ uri: root, name }] };
  if (method === 'sampling/createMessage') {
    return { model: 'none', role: 'assistant', content: { type: 'text', text: `from ${name}` } };
  }
  if ((params as { readonly mode?: string }).mode === 'url') {
    return { action: 'accept', _meta: { name } };
  }
  return { action: 'accept', content: { name, interpretation: name } };
}
