// The SDK's own MCP server, whose sessions keep state for their client: a log level, subscriptions,
// roots, tasks. A tool tells what a session has kept.

import { InMemoryTaskStore } from '@modelcontextprotocol/sdk/experimental/tasks/stores/in-memory.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import {
  type LoggingLevel,
  RootsListChangedNotificationSchema,
  SetLevelRequestSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { startMcpServer, type TestMcpServer } from './mcp-server.ts';

/** What a session has kept for its client, as its tool `state` tells it. */
export interface KeptState {
  level: LoggingLevel;
  subscriptions: string[];
  roots: string[];
}

export interface StatefulServer extends TestMcpServer {
  /** Tells every session that subscribed to `uri` that it was updated. Returns how many did. */
  touch(uri: string): Promise<number>;
}

const LEVELS: readonly LoggingLevel[] = ['debug', 'info', 'error'];

/** Starts it. */
export async function startStatefulServer(): Promise<StatefulServer> {
  const states = new Map<McpServer, KeptState>();
  const taskStore = new InMemoryTaskStore();
  const aborted: string[] = [];
  const mcp = await startMcpServer({
    newServer: () => {
      const state: KeptState = { level: 'error', subscriptions: [], roots: [] };
      const server = createServer(state, taskStore, aborted);
      states.set(server, state);
      return server;
    },
  });
  return {
    ...mcp,
    aborted,
    get openSockets() {
      return mcp.openSockets;
    },
    close: () => {
      // It has a timer for each task.
      taskStore.cleanup();
      return mcp.close();
    },
    touch: async (uri) => {
      const subscribed = [...mcp.sessions.values()].filter((server) =>
        states.get(server)?.subscriptions.includes(uri),
      );
      for (const { server } of subscribed) await server.sendResourceUpdated({ uri });
      return subscribed.length;
    },
  };
}

function createServer(
  state: KeptState,
  taskStore: InMemoryTaskStore,
  aborted: string[],
): McpServer {
  const capabilities = {
    logging: {},
    resources: { subscribe: true },
    completions: {},
    tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } },
  };
  const server = new McpServer({ name: 'stateful', version: '1' }, { capabilities, taskStore });
  const { server: inner } = server;
  inner.setRequestHandler(SetLevelRequestSchema, ({ params }) => {
    state.level = params.level;
    return {};
  });
  inner.setRequestHandler(SubscribeRequestSchema, ({ params }) => {
    state.subscriptions.push(params.uri);
    return {};
  });
  inner.setRequestHandler(UnsubscribeRequestSchema, ({ params }) => {
    state.subscriptions = state.subscriptions.filter((uri) => uri !== params.uri);
    return {};
  });
  inner.setNotificationHandler(RootsListChangedNotificationSchema, async () => {
    const { roots } = await inner.listRoots();
    state.roots = roots.map(({ uri }) => uri);
  });
  server.registerTool('state', {}, () => say(JSON.stringify(state)));
  server.registerTool('log', {}, async ({ sendNotification }) => {
    for (const level of LEVELS.slice(LEVELS.indexOf(state.level))) {
      await sendNotification({ method: 'notifications/message', params: { level, data: level } });
    }
    return say('logged');
  });
  server.registerTool('hang', {}, ({ signal }) => {
    return new Promise((resolve) => {
      const onAbort = (): void => {
        aborted.push('hang');
        resolve(say('aborted'));
      };
      signal.addEventListener('abort', onAbort, { once: true });
    });
  });
  server.experimental.tasks.registerToolTask(
    'task',
    { execution: { taskSupport: 'required' } },
    {
      createTask: async ({ taskStore: store }) => ({
        task: await store.createTask({ ttl: 60_000 }),
      }),
      getTask: async ({ taskStore: store, taskId }) => store.getTask(taskId),
      getTaskResult: async ({ taskStore: store, taskId }) =>
        (await store.getTaskResult(taskId)) as { content: [] },
    },
  );
  server.registerResource('note', 'note://1', {}, (url) => ({
    contents: [{ uri: url.href, text: 'note' }],
  }));
  return server;
}

const say = (text: string): { content: { type: 'text'; text: string }[] } => ({
  content: [{ type: 'text', text }],
});
