// What `StreamableHttpTransport` does otherwise than the SDK's transport, and why: the README has the
// same as a table. Each is told by where it shows. What is not here is a bug of ours.

import type { Difference } from './conversation-run.ts';

/** One row. */
export interface KnownDifference {
  readonly name: string;
  readonly why: string;
  /** Takes it out of a difference that may show others too. `undefined`: it is not in there. */
  readonly without?: (difference: Difference) => Difference | undefined;
  /** Whether it is all that is in a difference. */
  readonly explains?: (difference: Difference) => boolean;
}

type Shows = (difference: Difference) => boolean;

/** At a step of one of these quirks. */
const at =
  (...quirks: readonly string[]) =>
  (shows: Partial<Record<Difference['aspect'], Shows>>): Shows =>
  (difference) =>
    quirks.includes(difference.quirk) && (shows[difference.aspect]?.(difference) ?? false);

/** The outcome of the one call. */
const outcome =
  (sdk: string, ours: string): Shows =>
  (difference) =>
    difference.sdk.join() === sdk && difference.ours.join() === ours;

/** They begin alike, and then one of them has so many more. */
const more =
  (who: 'sdk' | 'ours', count: number): Shows =>
  ({ sdk, ours }) => {
    const [long, short] = who === 'sdk' ? [sdk, ours] : [ours, sdk];
    const begin = long.slice(0, short.length);
    return long.length === short.length + count && begin.join('\n') === short.join('\n');
  };

/** They are alike but for one member. */
const besides =
  (member: string): Shows =>
  ({ sdk, ours }) =>
    sdk.map((each) => without(each, member)).join('\n') ===
    ours.map((each) => without(each, member)).join('\n');

const either =
  (...shows: readonly Shows[]): Shows =>
  (difference) =>
    shows.some((each) => each(difference));

function without(json: string, member: string): string {
  const { [member]: _, ...rest } = JSON.parse(json) as Record<string, unknown>;
  return JSON.stringify(rest);
}

const isRenaming = (request: string): boolean => request.includes('"sessionId":"another"');

/** Rows that show beside others. */
const passing: readonly KnownDifference[] = [
  {
    name: 'a failed call is answered late with an error',
    why: "The SDK's client keeps the handlers of a call whose `send` failed; an answer clears them.",
    without: (difference) => {
      const isAnswer = (each: string): boolean => each.includes('"The call was not completed"');
      const { aspect, ours } = difference;
      if (aspect !== 'messages' || !ours.some(isAnswer)) return undefined;
      return { ...difference, ours: ours.filter((each) => !isAnswer(each)) };
    },
  },
  {
    name: 'a DELETE names nothing that it accepts',
    why: 'Nothing of its answer but the status is read.',
    without: (difference) => {
      const isDelete = (each: string): boolean =>
        each.includes('"method":"DELETE"') && each.includes('"accept":"*/*"');
      const { aspect, sdk, ours } = difference;
      if (aspect !== 'requests' || !sdk.some(isDelete) || ours.some(isDelete)) return undefined;
      const bare = (each: string): string => (isDelete(each) ? without(each, 'accept') : each);
      return { ...difference, sdk: sdk.map(bare) };
    },
  },
  {
    name: 'the session id is that of the answer to `initialize`',
    why: 'A later answer that names another would move the client into a session of somebody else.',
    without: (difference) => {
      const { aspect, sdk, ours, before, quirk } = difference;
      const isRenamed = [...before, quirk].includes('another session id');
      if (aspect !== 'requests' || !isRenamed) return undefined;
      if (!sdk.some(isRenaming) || ours.some(isRenaming)) return undefined;
      const bare = (each: string): string => without(each, 'sessionId');
      return { ...difference, sdk: sdk.map(bare), ours: ours.map(bare) };
    },
  },
];

const calls: readonly KnownDifference[] = [
  {
    name: '`send` of a call settles with its response',
    why: 'Whoever waits for it learns at once that none can come; the SDK lets the call time out.',
    explains: either(
      at('no response in time')({ outcomes: outcome('resolved', 'pending') }),
      at(
        'cut short',
        'json without the response',
        'accepted only',
      )({
        outcomes: outcome('resolved', 'rejected'),
      }),
    ),
  },
  {
    name: 'an array on a stream is a batch',
    why: 'Servers of 2025-03-26 may send them so.',
    explains: at('batch as an event')({
      messages: ({ sdk, ours }) => sdk.length === 0 && ours.length > 0,
    }),
  },
  {
    name: 'members that JSON-RPC does not know are left out',
    why: 'The SDK drops the whole message, and the call waits for its timeout.',
    explains: at('unknown members')({
      messages: more('ours', 1),
      outcomes: outcome('rejected', 'resolved'),
    }),
  },
  {
    name: 'an error without an id, or with `null`, is for the call that it answers',
    why: 'It can be for no other; the SDK lets the call time out.',
    explains: either(
      at('null as an id')({ messages: more('ours', 1) }),
      at('error without an id')({ messages: besides('id') }),
    ),
  },
  {
    name: 'an event with an id and no data counts',
    why: 'It primes a stream (SEP-1699); the SDK sees only those with a line of data.',
    explains: at('id without data')({ messages: more('ours', 1), requests: more('ours', 1) }),
  },
  {
    name: 'an empty id takes the last one back',
    why: 'So the event stream standard has it; the SDK goes on from an id the server has dropped.',
    explains: either(
      at('id taken back')({
        requests: more('sdk', 1),
        outcomes: outcome('resolved', 'rejected'),
      }),
      at('stream id taken back')({ requests: besides('lastEventId') }),
    ),
  },
  {
    name: 'the last event id outlives a stream that brings none',
    why: 'So the event stream standard has it; the SDK asks again from the beginning.',
    explains: at('resumed without an id', 'stream reopened')({ requests: besides('lastEventId') }),
  },
  {
    name: 'a stream is resumed until its own response, also an error, has come',
    why: 'The SDK resumes after an error, and does not after the result of some other call.',
    explains: either(
      at('resumable error')({ requests: more('sdk', 1) }),
      at('resumable, stray response')({ messages: more('ours', 1), requests: more('ours', 1) }),
    ),
  },
  {
    name: 'a resumption that the server refuses fails the call',
    why: 'A 4xx is final; the SDK asks once more and then leaves the call waiting.',
    explains: either(
      at('resumption refused')({
        requests: more('sdk', 1),
        outcomes: outcome('resolved', 'rejected'),
      }),
      at('replay refused')({ outcomes: outcome('resolved', 'rejected') }),
    ),
  },
  {
    name: 'a replayed error gets the id of the call that resumes',
    why: 'The SDK changes the id of results alone, asks again, and leaves the call waiting.',
    explains: at('replayed error')({ messages: besides('id'), requests: more('sdk', 1) }),
  },
  {
    name: 'the request of an answered call is ended after 100 ms',
    why: 'Or a server that leaves its streams open would hold a socket for each call.',
    explains: at('late notice')({ messages: more('sdk', 1) }),
  },
  {
    name: 'a message over `maxMessageBytes` fails its call',
    why: 'One answer must not take all memory.',
    explains: at('too large')({
      messages: more('sdk', 1),
      outcomes: outcome('resolved', 'rejected'),
    }),
  },
  {
    name: 'a bare CR ends a line at once',
    why: "The SDK's parser waits for what follows it, and loses the last event of a stream.",
    explains: at('bare CRs')({ messages: more('ours', 1) }),
  },
  {
    name: 'a cancelled call is over: its socket is freed, and what comes for it is not told',
    why: 'Or each aborted call would hold a socket until the server ends its stream.',
    explains: at('cancelled', 'initialize cancelled')({ messages: more('sdk', 1) }),
  },
  {
    name: 'the server is not told that a call was cancelled which is over, or `initialize`',
    why: 'The first says nothing any more, and MCP forbids the second.',
    explains: at('cancelled late', 'initialize cancelled')({ requests: more('sdk', 1) }),
  },
];

const streams: readonly KnownDifference[] = [
  {
    name: 'the notification stream is opened whatever 2xx `initialized` got',
    why: 'The SDK takes 202 alone for accepted.',
    explains: at('initialized gets 200')({ requests: more('ours', 1) }),
  },
  {
    name: 'a notification stream that could not be opened for now is asked for again',
    why: 'The SDK asks again only for one that it had, and then twice.',
    explains: at('stream down')({ requests: more('ours', 1) }),
  },
  {
    name: 'a GET that is answered with something else than events, or 404, is not sent again',
    why: 'There is no stream to be had.',
    explains: either(
      at('stream of another type')({ requests: more('sdk', 1) }),
      at('stream gone')({ requests: more('sdk', 1) }),
    ),
  },
  {
    name: 'a response on the notification stream does not end it',
    why: 'The SDK never opens it again.',
    explains: at('response on the stream')({ requests: more('ours', 1) }),
  },
  {
    name: 'a DELETE that gets 404 has ended the session',
    why: 'The server knows it no more: that is what was asked for.',
    explains: at('ended, 404')({ outcomes: outcome('rejected 404', 'resolved') }),
  },
];

/** All rows. */
export const knownDifferences: readonly KnownDifference[] = [...passing, ...calls, ...streams];

/**
 * The names of the rows that together are all of `difference`. `undefined`: some of it is not known.
 */
export function explain(difference: Difference): readonly string[] | undefined {
  const names: string[] = [];
  let left = difference;
  for (const { name, without: taken } of passing) {
    const next = taken?.(left);
    if (next === undefined) continue;
    names.push(name);
    left = next;
  }
  if (left.sdk.join('\n') === left.ours.join('\n')) return names;
  const known = knownDifferences.find(({ explains }) => explains?.(left) ?? false);
  return known === undefined ? undefined : [...names, known.name];
}
