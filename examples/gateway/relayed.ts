// What goes through the gateway, and what does not: lists of what is let through, so that what MCP
// adds later is refused until somebody has thought about it. Tasks are not in them: a task outlives
// its call, and would outlive what the gateway knows of its caller.

import type { ClientCapabilities, ServerCapabilities } from '@modelcontextprotocol/sdk/types.js';
import * as z from 'zod';

const CALLS = new Set([
  'tools/list',
  'tools/call',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'prompts/list',
  'prompts/get',
  'completion/complete',
]);

/** They leave state in the upstream session, so there has to be one that is the caller's own. */
const STATEFUL_CALLS = new Set([
  'logging/setLevel',
  'resources/subscribe',
  'resources/unsubscribe',
]);

/** Whether a request of the client goes upstream. */
export const isCall = (method: string, hasOwnSession: boolean): boolean =>
  CALLS.has(method) || (hasOwnSession && STATEFUL_CALLS.has(method));

const QUESTIONS = new Set(['elicitation/create', 'sampling/createMessage', 'roots/list']);

/** Whether a request of the upstream server goes to the client. */
export const isQuestion = (method: string): boolean => QUESTIONS.has(method);

const NEWS = new Set([
  'notifications/message',
  'notifications/elicitation/complete',
  'notifications/resources/updated',
  'notifications/resources/list_changed',
  'notifications/tools/list_changed',
  'notifications/prompts/list_changed',
]);
/** The pool tells its own handler of them always, and leases beside it: heard once is enough. */
const NEWS_OF_LEASES = new Set(['notifications/message', 'notifications/elicitation/complete']);

/** Whether a notification of the upstream server goes to the client. */
export const isNews = (method: string): boolean => NEWS.has(method);
/** The same for one that a lease heard. */
export const isNewsOfCall = (method: string): boolean => NEWS_OF_LEASES.has(method);

const flag = z.object({}).optional();
const answerable = z.object({
  elicitation: z.object({ form: flag, url: flag }).optional(),
  sampling: z.object({ context: flag, tools: flag }).optional(),
  roots: z.object({ listChanged: z.boolean().optional() }).optional(),
});

/** What the client can be asked for. Upstream servers are told just that, so they ask no more. */
export function capabilitiesOfClient(sent: unknown): ClientCapabilities {
  const { success, data } = answerable.safeParse(sent);
  return success ? (data as ClientCapabilities) : {};
}

/** What the upstream server offers, as far as it goes through here. */
export function capabilitiesOfServer(
  offered: ServerCapabilities | undefined,
  hasOwnSession: boolean,
): ServerCapabilities {
  const { tools, resources, prompts, completions, logging } = offered ?? {};
  if (hasOwnSession) {
    return {
      ...(tools && { tools }),
      ...(resources && { resources }),
      ...(prompts && { prompts }),
      ...(completions && { completions }),
      ...(logging && { logging }),
    };
  }
  return {
    ...(tools && { tools: {} }),
    ...(resources && { resources: {} }),
    ...(prompts && { prompts: {} }),
    ...(completions && { completions }),
  };
}
