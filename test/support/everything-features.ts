// What server-everything declares beside its lists: a check for every capability. `server-suite.ts`
// holds the table against what the server says. Knows no transport.

import type { Task } from '@modelcontextprotocol/sdk/types.js';
import { expect } from 'vitest';
import {
  PROMPT_CHECKS,
  SESSION_TOOL_CHECKS,
  TEMPLATE_CHECKS,
  TOOL_CHECKS,
} from './everything-checks.ts';
import { textOf } from './http-sessions.ts';
import { type Guest, hear, type SessionCheck } from './server-guests.ts';
import type { Offers } from './server-suite.ts';

const TASK_TOOL = 'simulate-research-query';
const LOGGED = 'notifications/message';

const FEATURE_CHECKS: Readonly<Record<string, SessionCheck>> = {
  logging: async ([guest]) => {
    const quiet = dynamicUri();
    const loud = dynamicUri();
    await guest.client.setLoggingLevel('error');
    // It tells of each subscription, on the level 'info'.
    await guest.client.subscribeResource({ uri: quiet });
    await guest.client.setLoggingLevel('info');
    await guest.client.subscribeResource({ uri: loud });
    await hear(guest.hears, LOGGED, loud);
    expect(JSON.stringify(guest.hears)).not.toContain(quiet);
    for (const uri of [quiet, loud]) await guest.client.unsubscribeResource({ uri });
  },
  completions: async (guests) => {
    for (const guest of guests) {
      const name = { type: 'ref/prompt', name: 'completable-prompt' } as const;
      expect(await completed(guest, name, 'department', 'S')).toEqual(['Sales', 'Support']);
      const inSupport = { arguments: { department: 'Support' } };
      expect(await completed(guest, name, 'name', 'K', inSupport)).toEqual(['Kim']);
      const uri = 'demo://resource/dynamic/text/{resourceId}';
      const template = { type: 'ref/resource', uri } as const;
      expect(await completed(guest, template, 'resourceId', '12')).toEqual(['12']);
      expect(await completed(guest, template, 'resourceId', 'x')).toEqual([]);
    }
  },
  // Declared, and never sent: what it has, it has from the start.
  'prompts.listChanged': async ([guest]) => {
    expect((await guest.client.listPrompts()).prompts).toHaveLength(4);
  },
  // Its update is the check of `toggle-subscriber-updates`.
  'resources.subscribe': async ([guest]) => {
    const uri = dynamicUri();
    expect(await guest.client.subscribeResource({ uri })).toEqual({});
    expect(await guest.client.unsubscribeResource({ uri })).toEqual({});
  },
  'resources.listChanged': async (guests) => {
    const args = { data: 'data:text/plain,x', name: `${crypto.randomUUID()}.gz` };
    for (const guest of guests) await guest.call('gzip-file-as-resource', args);
    for (const { heard } of guests) await hear(heard, 'notifications/resources/list_changed');
  },
  // Sent once, right after the handshake: nobody hears it who has to open a stream first.
  'tools.listChanged': async ([{ client, scene }]) => {
    if (scene.isOneChannel) await hear(scene.poolHeard, 'notifications/tools/list_changed');
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name)).toContain('trigger-sampling-request');
  },
  'tasks.list': async ([guest]) => {
    const { taskId } = await beginTask(guest);
    const { tasks } = await guest.client.experimental.tasks.listTasks();
    expect(tasks.map((task) => task.taskId)).toContain(taskId);
    await guest.client.experimental.tasks.cancelTask(taskId);
  },
  'tasks.cancel': async ([guest]) => {
    const { tasks } = guest.client.experimental;
    const { taskId, status } = await beginTask(guest);
    expect(status).toBe('working');
    expect((await tasks.cancelTask(taskId)).status).toBe('cancelled');
    expect((await tasks.getTask(taskId)).status).toBe('cancelled');
  },
  // To its end: the check of the tool.
  'tasks.requests.tools.call': async (guests) => {
    const begun = await Promise.all(guests.map(beginTask));
    expect(new Set(begun.map(({ taskId }) => taskId)).size).toBe(guests.length);
    for (const [n, { client }] of guests.entries()) {
      await client.experimental.tasks.cancelTask(begun[n]!.taskId);
    }
    // Without a task it is not to be had.
    const plain = await guests[0].call(TASK_TOOL, { topic: 'x' });
    expect(plain.isError).toBe(true);
    expect(textOf(plain)).toContain('requires task augmentation');
  },
};

const MORE_CHECKS: Readonly<Record<string, SessionCheck>> = {
  'a call that is aborted ends at once, and its lease goes on': async (guests) => {
    for (const { client, name } of guests) {
      const controller = new AbortController();
      const call = { name: 'trigger-long-running-operation', arguments: { duration: 600 } };
      const aborted = client.callTool(call, undefined, { signal: controller.signal });
      controller.abort(new Error(`${name} went away`));
      await expect(aborted).rejects.toThrow(`${name} went away`);
      const echo = { name: 'echo', arguments: { message: name } };
      expect(textOf(await client.callTool(echo))).toBe(`Echo: ${name}`);
    }
  },
  'the handlers of a lease answer for it alone': async (guests) => {
    const call = { prompt: 'who?' };
    const ask = async (guest: Guest): Promise<string> =>
      textOf(await guest.call('trigger-sampling-request', call));
    const texts = await Promise.all(guests.map(ask));
    for (const [n, guest] of guests.entries()) {
      expect(texts[n]).toContain(`from ${guest.answersCalls}`);
      const isAsked = guest.answersCalls === guest.name;
      const samplings = guest.asked.filter((method) => method !== 'roots/list');
      expect(samplings).toEqual(isAsked ? ['sampling/createMessage'] : []);
    }
  },
};

/** All of it. */
export const everythingOffers: Offers = {
  tools: TOOL_CHECKS,
  sessionTools: SESSION_TOOL_CHECKS,
  prompts: PROMPT_CHECKS,
  templates: TEMPLATE_CHECKS,
  features: FEATURE_CHECKS,
  more: MORE_CHECKS,
};

function dynamicUri(): string {
  return `demo://resource/dynamic/text/${Math.ceil(Math.random() * 1e9)}`;
}

async function completed(
  { client }: Guest,
  ref: Parameters<Guest['client']['complete']>[0]['ref'],
  name: string,
  value: string,
  context?: { arguments: Record<string, string> },
): Promise<string[]> {
  const argument = { name, value };
  const { completion } = await client.complete({ ref, argument, ...(context && { context }) });
  return completion.values;
}

/** Begins a task of four seconds. */
async function beginTask({ client }: Guest): Promise<Task> {
  const call = { name: TASK_TOOL, arguments: { topic: 'moons' } };
  const stream = client.experimental.tasks.callToolStream(call, undefined, {
    task: { ttl: 60_000 },
  });
  for await (const message of stream) {
    if (message.type === 'taskCreated') return message.task;
  }
  throw new Error('No task was created');
}
