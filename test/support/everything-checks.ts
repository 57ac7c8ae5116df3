// The tools, prompts and templates of server-everything, and for each a check that it works through a
// lease. `server-suite.ts` holds the tables against what the server lists. Knows no transport.

import { gunzipSync } from 'node:zlib';
import { UriTemplate } from '@modelcontextprotocol/sdk/shared/uriTemplate.js';
import {
  CallToolResultSchema,
  UrlElicitationRequiredError,
} from '@modelcontextprotocol/sdk/types.js';
import { expect } from 'vitest';
import { textOf } from './http-sessions.ts';
import { pause, until } from './raw-server.ts';
import { type Check, type Heard, hear, PACED_MS, type SessionCheck } from './server-guests.ts';

/** Something that no other call says. */
const newToken = (): string => crypto.randomUUID();

interface Content {
  readonly type: string;
  readonly text?: string;
  readonly data?: string;
  readonly mimeType?: string;
  readonly uri?: string;
  readonly annotations?: unknown;
  readonly resource?: { readonly uri: string; readonly text?: string; readonly blob?: string };
}

const contentOf = (result: unknown): readonly Content[] =>
  (result as { content: readonly Content[] }).content;
const allTextOf = (result: unknown): string =>
  contentOf(result)
    .map(({ text }) => text ?? '')
    .join('\n');
const decoded = (base64: string | undefined): string =>
  Buffer.from(base64 ?? '', 'base64').toString();

function expectPng({ type, data, mimeType }: Content): void {
  expect({ type, mimeType }).toEqual({ type: 'image', mimeType: 'image/png' });
  expect(decoded(data).slice(1, 4)).toBe('PNG');
}

/** By the tool's name. */
export const TOOL_CHECKS: Readonly<Record<string, Check>> = {
  echo: async (guest) => {
    const token = newToken();
    expect(textOf(await guest.call('echo', { message: token }))).toBe(`Echo: ${token}`);
    const refused = await guest.call('echo', { message: 7 });
    expect(refused.isError).toBe(true);
    expect(textOf(refused)).toContain('Input validation error');
  },
  'get-annotated-message': async (guest) => {
    const args = { messageType: 'error', includeImage: true };
    const [text, image] = contentOf(await guest.call('get-annotated-message', args));
    expect(text).toMatchObject({
      text: 'Error: Operation failed',
      annotations: { priority: 1, audience: ['user', 'assistant'] },
    });
    expectPng(image!);
  },
  'get-env': async (guest) => {
    const env: unknown = JSON.parse(textOf(await guest.call('get-env')));
    expect(env).toMatchObject({ PATH: expect.any(String) });
  },
  'get-resource-links': async (guest) => {
    const content = contentOf(await guest.call('get-resource-links', { count: 4 }));
    const links = content.filter(({ type }) => type === 'resource_link');
    expect(links).toHaveLength(4);
    for (const { uri } of links) {
      const { contents } = await guest.client.readResource({ uri: uri! });
      expect(contents[0]?.uri).toBe(uri);
    }
  },
  'get-resource-reference': async (guest) => {
    const call = async (resourceType: string): Promise<Content['resource']> =>
      contentOf(await guest.call('get-resource-reference', { resourceType, resourceId: 3 }))[1]
        ?.resource;
    expect((await call('Text'))?.text).toContain('Resource 3: This is a plaintext resource');
    expect(decoded((await call('Blob'))?.blob)).toContain('Resource 3: This is a base64 blob');
  },
  'get-structured-content': async (guest) => {
    await guest.client.listTools();
    const result = await guest.call('get-structured-content', { location: 'Chicago' });
    const weather = { temperature: 36, conditions: expect.any(String), humidity: 82 };
    expect(result.structuredContent).toEqual(weather);
    expect(JSON.parse(textOf(result))).toEqual(weather);
  },
  'get-sum': async (guest) => {
    expect(textOf(await guest.call('get-sum', { a: 40, b: 2 }))).toContain('42');
  },
  'get-tiny-image': async (guest) => {
    const content = contentOf(await guest.call('get-tiny-image'));
    expect(content).toHaveLength(3);
    expectPng(content[1]!);
  },
  'trigger-long-running-operation': async (guest) => {
    const heard: number[] = [];
    const args = { duration: 0.3, steps: 3 };
    const call = { name: 'trigger-long-running-operation', arguments: args };
    const result = await guest.client.callTool(call, undefined, {
      onprogress: ({ progress, total }) => {
        expect(total).toBe(3);
        heard.push(progress);
      },
    });
    expect(heard).toEqual([1, 2, 3]);
    expect(textOf(result)).toContain('Duration: 0.3 seconds, Steps: 3');
  },
  'trigger-sampling-request': async (guest) => {
    const result = await guest.call('trigger-sampling-request', { prompt: 'who are you?' });
    expect(textOf(result)).toContain(`from ${guest.answersCalls}`);
  },
  'trigger-sampling-request-async': async (guest) => {
    const result = await guest.call('trigger-sampling-request-async', { prompt: 'later' });
    expect(textOf(result)).toContain(`from ${guest.answersCalls}`);
    if (guest.answersCalls === guest.name) expect(textOf(result)).toContain('[COMPLETED]');
  },
  'trigger-elicitation-request': async (guest) => {
    const text = allTextOf(await guest.call('trigger-elicitation-request'));
    expect(text).toContain(`- Name: ${guest.answersCalls}`);
  },
  'trigger-elicitation-request-async': async (guest) => {
    const text = allTextOf(await guest.call('trigger-elicitation-request-async'));
    expect(text).toContain(guest.answersCalls);
    if (guest.answersCalls === guest.name) expect(text).toContain('[COMPLETED]');
  },
  'trigger-url-elicitation': async (guest) => {
    const url = `https://sign-in.example/${newToken()}`;
    const args = { url, errorPath: true };
    const refusal = guest.call('trigger-url-elicitation', args);
    const error = await refusal.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(UrlElicitationRequiredError);
    expect((error as UrlElicitationRequiredError).elicitations[0]?.mode).toBe('url');
    // It asks once more, and then it goes the other way.
    const text = allTextOf(await guest.call('trigger-url-elicitation', args));
    expect(text).toContain('User completed the URL elicitation flow');
    expect(text).toContain(url);
    expect(text).toContain(`"name": "${guest.answersCalls}"`);
  },
  'simulate-research-query': async (guest) => {
    const topic = `tides ${newToken()}`;
    const call = {
      name: 'simulate-research-query',
      arguments: { topic, ambiguous: true },
    };
    const stream = guest.client.experimental.tasks.callToolStream(call, CallToolResultSchema, {
      task: { ttl: 60_000 },
    });
    const states: string[] = [];
    let report = '';
    for await (const message of stream) {
      if (message.type === 'error') throw message.error;
      if (message.type === 'result') report = textOf(message.result);
      else states.push(message.task.status);
    }
    // What it asks, it asks over the answer to the question for its result.
    expect(states).toContain('input_required');
    expect(report).toContain(`# Research Report: ${topic} (${guest.answersCalls})`);
  },
};

/** By the tool's name: they change the session, and are called by one lease for all. */
export const SESSION_TOOL_CHECKS: Readonly<Record<string, SessionCheck>> = {
  'get-roots-list': async (guests) => {
    for (const guest of guests) {
      // Whoever had the session before may have answered it.
      await guest.call('get-roots-list');
      await guest.client.sendRootsListChanged();
      const roots = async (): Promise<string> => textOf(await guest.call('get-roots-list'));
      const right = `file:///${guest.answersSession}`;
      // Bound: the timeout of the test.
      while (!(await roots()).includes(right)) await pause(20);
    }
  },
  'gzip-file-as-resource': async (guests) => {
    const [first] = guests;
    const text = newToken();
    const name = `${text}.gz`;
    const args = { name, data: `data:text/plain,${text}`, outputType: 'resourceLink' };
    const [link] = contentOf(await first.call('gzip-file-as-resource', args));
    expect(link).toMatchObject({ type: 'resource_link', name, mimeType: 'application/gzip' });
    const unpack = (blob: unknown): string =>
      gunzipSync(Buffer.from(String(blob), 'base64')).toString();
    for (const { client } of guests) {
      const { contents } = await client.readResource({ uri: link!.uri! });
      expect(unpack((contents[0] as { blob?: string }).blob)).toBe(text);
      const { resources } = await client.listResources();
      expect(resources.map((each) => each.name)).toContain(name);
    }
    const whole = { ...args, outputType: 'resource' };
    const [resource] = contentOf(await first.call('gzip-file-as-resource', whole));
    expect(unpack(resource?.resource?.blob)).toBe(text);
    // Each time the list has changed, and everybody is told.
    for (const { heard } of guests) await hear(heard, 'notifications/resources/list_changed');
  },
  'toggle-simulated-logging': async ([guest]) => {
    await guest.client.setLoggingLevel('debug');
    const isPaced = ({ method, params }: Heard): boolean =>
      method === 'notifications/message' && /-level |level-/.test(JSON.stringify(params));
    const before = guest.hears.filter(isPaced).length;
    expect(textOf(await guest.call('toggle-simulated-logging'))).toContain('Started');
    await until(() => guest.hears.filter(isPaced).length > before, PACED_MS);
    expect(textOf(await guest.call('toggle-simulated-logging'))).toContain('Stopped');
  },
  'toggle-subscriber-updates': async (guests) => {
    const [guest] = guests;
    const uri = `demo://resource/dynamic/text/${Math.ceil(Math.random() * 1e9)}`;
    await guest.client.subscribeResource({ uri });
    expect(textOf(await guest.call('toggle-subscriber-updates'))).toContain('Started');
    for (const { heard } of guests) {
      await hear(heard, 'notifications/resources/updated', uri);
    }
    await hear(guest.scene.poolHeard, 'notifications/resources/updated', uri);
    await guest.client.unsubscribeResource({ uri });
    expect(textOf(await guest.call('toggle-subscriber-updates'))).toContain('Stopped');
  },
};

/** By the prompt's name. */
export const PROMPT_CHECKS: Readonly<Record<string, Check>> = {
  'simple-prompt': async ({ client }) => {
    const { messages } = await client.getPrompt({ name: 'simple-prompt' });
    expect(messages).toMatchObject([{ role: 'user', content: { type: 'text' } }]);
  },
  'args-prompt': async ({ client }) => {
    const get = async (args: Record<string, string>): Promise<unknown> =>
      (await client.getPrompt({ name: 'args-prompt', arguments: args })).messages[0]?.content;
    expect(await get({ city: 'Kiel' })).toMatchObject({ text: "What's weather in Kiel?" });
    const text = "What's weather in Kiel, SH?";
    expect(await get({ city: 'Kiel', state: 'SH' })).toMatchObject({ text });
    await expect(get({})).rejects.toMatchObject({ code: -32_602 });
  },
  'completable-prompt': async ({ client }) => {
    const args = { department: 'Sales', name: 'Eve' };
    const { messages } = await client.getPrompt({ name: 'completable-prompt', arguments: args });
    expect(messages[0]?.content).toMatchObject({
      text: 'Please promote Eve to the head of the Sales team.',
    });
  },
  'resource-prompt': async ({ client }) => {
    const args = { resourceType: 'Blob', resourceId: '5' };
    const { messages } = await client.getPrompt({ name: 'resource-prompt', arguments: args });
    const { resource } = messages[1]!.content as Content;
    expect(decoded(resource?.blob)).toContain('Resource 5');
  },
};

/** By the template's text. */
export const TEMPLATE_CHECKS: Readonly<Record<string, Check>> = {
  'demo://resource/dynamic/text/{resourceId}': async (guest) => {
    const uri = uriOf('demo://resource/dynamic/text/{resourceId}', '11');
    const { contents } = await guest.client.readResource({ uri });
    expect(contents).toMatchObject([
      { uri, mimeType: 'text/plain', text: expect.stringMatching(/^Resource 11:/) },
    ]);
  },
  'demo://resource/dynamic/blob/{resourceId}': async (guest) => {
    const uri = uriOf('demo://resource/dynamic/blob/{resourceId}', '12');
    const { contents } = await guest.client.readResource({ uri });
    expect(decoded((contents[0] as { blob?: string }).blob)).toMatch(/^Resource 12:/);
    const wrong = uriOf('demo://resource/dynamic/blob/{resourceId}', 'zero');
    await expect(guest.client.readResource({ uri: wrong })).rejects.toThrow('Unknown resource');
  },
};

function uriOf(template: string, resourceId: string): string {
  return new UriTemplate(template).expand({ resourceId });
}
