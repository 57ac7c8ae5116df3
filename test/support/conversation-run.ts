// Leads a client transport through a scripted conversation and writes down what came of it, step by
// step; and tells where two such records differ.

import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { type Conversation, canonical, type Step, type StepRecord } from './conversation.ts';
import { type HostedTalk, pause } from './conversation-host.ts';

/** What both transports have. */
export interface TalkingTransport extends Transport {
  resumeStream(lastEventId: string): Promise<void>;
  terminateSession(): Promise<void>;
}

/** One thing that the two transports did not do alike. */
export interface Difference {
  readonly conversation: number;
  readonly step: number;
  readonly quirk: string;
  /** The quirks of the steps before. */
  readonly before: readonly string[];
  readonly aspect: 'messages' | 'requests' | 'outcomes';
  readonly sdk: readonly string[];
  readonly ours: readonly string[];
}

const LONGEST_STEP_MS = 8_000;
const TURN_MS = 4;

/** Plays `conversation` over `transport`. Closes it. */
export async function converse(
  conversation: Conversation,
  transport: TalkingTransport,
  talk: HostedTalk,
): Promise<StepRecord[]> {
  const records: StepRecord[] = [];
  const outcomes: string[][] = [];
  let record: StepRecord = { messages: [], requests: [], outcomes: [] };
  transport.onmessage = (message) => {
    record.messages.push(canonical(message));
    talk.touch();
  };
  await transport.start();
  for (const step of conversation.steps) {
    record = { messages: [], requests: [], outcomes: [] };
    records.push(record);
    const own: string[] = [];
    outcomes.push(own);
    talk.begin(step, record.requests);
    const watch = (promise: Promise<void>): void => watchOutcome(own, promise, talk);
    await act(step, transport, talk, watch);
    await quiet(talk, step, () => talk.unasked > 0 || own.includes('pending'));
    if (step === conversation.steps[0]) transport.setProtocolVersion?.('2025-06-18');
    if (step.act.do === 'call' && step.act.calls.length > 1) {
      // They are on sockets of their own: what comes over which first is chance.
      record.messages.sort();
      record.requests.sort();
    }
  }
  for (const [n, each] of records.entries()) each.outcomes = [...(outcomes[n] ?? [])];
  await transport.close();
  return records;
}

/** What `sdk` and `ours` did differently. */
export function differencesOf(
  { number, steps }: Conversation,
  sdk: readonly StepRecord[],
  ours: readonly StepRecord[],
): Difference[] {
  return steps.flatMap(({ quirk }, step) =>
    (['messages', 'requests', 'outcomes'] as const).flatMap((aspect) => {
      const [ofSdk, ofOurs] = [sdk[step]?.[aspect] ?? [], ours[step]?.[aspect] ?? []];
      if (ofSdk.join('\n') === ofOurs.join('\n')) return [];
      const before = steps.slice(0, step).map((each) => each.quirk);
      return [{ conversation: number, step, quirk, before, aspect, sdk: ofSdk, ours: ofOurs }];
    }),
  );
}

async function act(
  step: Step,
  transport: TalkingTransport,
  talk: HostedTalk,
  watch: (promise: Promise<void>) => void,
): Promise<void> {
  const what = step.act;
  switch (what.do) {
    case 'call':
      for (const call of what.calls) watch(transport.send(call));
      return;
    case 'post':
      return watch(transport.send(what.message));
    case 'resume': {
      const resumptionToken = what.token;
      return watch(transport.send(what.call, { resumptionToken }));
    }
    case 'resumeStream':
      return watch(transport.resumeStream(what.token));
    case 'terminate':
      return watch(transport.terminateSession());
    case 'listen': {
      const { parts, end } = what;
      if (talk.stream !== undefined) await talk.write(talk.stream, { headers: {}, parts, end });
      return;
    }
    case 'cancel': {
      watch(transport.send(what.call));
      await quiet(talk, step, () => talk.unasked > 1);
      watch(transport.send(what.cancel as JSONRPCMessage));
      await quiet(talk, step, () => talk.unasked > 0);
      const { openPost } = talk;
      if (openPost === undefined || openPost.destroyed) return;
      return talk.write(openPost, { headers: {}, parts: what.late, end: 'whole' });
    }
    default:
      return what satisfies never;
  }
}

function watchOutcome(outcomes: string[], promise: Promise<void>, talk: HostedTalk): void {
  const place = outcomes.push('pending') - 1;
  const settle = (outcome: string): void => {
    outcomes[place] = outcome;
    talk.touch();
  };
  promise.then(
    () => settle('resolved'),
    (error: unknown) => settle(`rejected${statusOf(error)}`),
  );
}

/** The HTTP status that an error of either transport names. */
function statusOf(error: unknown): string {
  const { status, code } = error as { status?: unknown; code?: unknown };
  const named = status ?? code;
  return typeof named === 'number' && named > 0 ? ` ${named}` : '';
}

/**
 * Waits while the step is under way, within patience, and then until nothing happens any more. Time is
 * counted in turns of the event loop: on a busy machine a clock says nothing of what is done.
 */
async function quiet(
  talk: HostedTalk,
  { quietMs, patienceMs }: Step,
  isUnderWay: () => boolean,
): Promise<void> {
  const before = { activity: talk.activity, at: 0 };
  for (let turns = 0; turns < LONGEST_STEP_MS / TURN_MS; turns += 1) {
    await pause(TURN_MS);
    const isAsking = isUnderWay() && turns < patienceMs / TURN_MS;
    if (isAsking || talk.busy > 0 || talk.activity !== before.activity) {
      before.activity = talk.activity;
      before.at = turns;
    }
    if (turns - before.at > quietMs / TURN_MS) return;
  }
  throw new Error('The step never became quiet');
}
