// Tools that ask their caller in the middle of a call, for the SDK's own server: elicitation,
// sampling and roots, progress and log messages, each with the token that the caller gave.

import { setTimeout as sleep } from 'node:timers/promises';
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import * as z from 'zod';

/** How long a server waits for an answer. */
const ASK_TIMEOUT_MS = 25_000;

const token = z.string();

/** What `ask` returns: each is the answer of a handler of the caller's. */
export interface Answers {
  readonly elicited: unknown;
  readonly sampled: unknown;
  readonly root: unknown;
}

/**
 * `ask` asks on the call's own response stream, `ask-aside` on the notification stream; `tell`
 * sends progress and log messages; `gather` elicits once `size` calls of it have come.
 */
export function addAskingTools(mcp: McpServer): void {
  const { server } = mcp;
  const say = (text: string): { content: { type: 'text'; text: string }[] } => ({
    content: [{ type: 'text', text }],
  });
  const ask = async (text: string, relatedRequestId?: string | number): Promise<Answers> => {
    const options = {
      timeout: ASK_TIMEOUT_MS,
      ...(relatedRequestId !== undefined && { relatedRequestId }),
    };
    const requestedSchema = { type: 'object', properties: { text: { type: 'string' } } } as const;
    const elicited = await server.elicitInput({ message: text, requestedSchema }, options);
    await sleep(Math.random() * 4);
    const content = { type: 'text', text } as const;
    const sampling = { messages: [{ role: 'user' as const, content }], maxTokens: 1 };
    const sampled = await server.createMessage(sampling, options);
    await sleep(Math.random() * 4);
    const { roots } = await server.listRoots({ _meta: { token: text } }, options);
    return {
      elicited: elicited.content?.['text'],
      sampled: sampled.content.type === 'text' && sampled.content.text,
      root: roots[0]?.uri,
    };
  };

  mcp.registerTool('ask', { inputSchema: { token } }, async (args, { requestId }) =>
    say(JSON.stringify(await ask(args.token, requestId))),
  );
  mcp.registerTool('ask-aside', { inputSchema: { token } }, async (args) =>
    say(JSON.stringify(await ask(args.token))),
  );
  mcp.registerTool('tell', { inputSchema: { token } }, async (args, extra) => {
    const progressToken = extra._meta?.progressToken;
    for (const progress of [1, 2, 3]) {
      if (progressToken !== undefined) {
        const params = { progressToken, progress, message: args.token };
        await extra.sendNotification({ method: 'notifications/progress', params });
      }
      const params = { level: 'info' as const, data: `${args.token} ${progress}` };
      await extra.sendNotification({ method: 'notifications/message', params });
      if (progress < 3) await sleep(Math.random() * 4);
    }
    return say(args.token);
  });

  let waiting: (() => void)[] = [];
  mcp.registerTool(
    'gather',
    { inputSchema: { token, size: z.number() } },
    async (args, { requestId }) => {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        if (waiting.length < args.size) return;
        for (const go of waiting) go();
        waiting = [];
      });
      return say(JSON.stringify(await ask(args.token, requestId)));
    },
  );
}
