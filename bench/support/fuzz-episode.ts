// One fuzz episode: a server that does anything, up to eight clients that do anything, and what must
// hold once all of them are closed. Everything chance decides comes from one seed; what the network
// decides does not, so a finding may take a few replays.

import { Dice } from './dice.ts';
import { FuzzClient, pause } from './fuzz-client.ts';
import { HurriedClock } from './fuzz-clock.ts';
import { FuzzServer, type SeenRequest } from './fuzz-server.ts';

/** What came of an episode. */
export interface Episode {
  readonly seed: number;
  readonly requests: number;
  readonly sends: number;
  readonly messages: number;
  /** How often which kind of answer was given. */
  readonly answered: ReadonlyMap<string, number>;
  /** What did not hold. Empty, or there is a bug. */
  readonly findings: readonly string[];
}

/** How long sockets may take to go after the last close. */
const SOCKETS_GONE_MS = 2_000;
/** How long the server listens for what must not come any more. */
const SILENCE_MS = 35;
/** Streams of one chain asked for in a second, by the transport's clock; and a few to begin with. */
const GETS_PER_SECOND_MAX = 12;
const GETS_AT_ONCE_MAX = 2;
/** Loose: other processes share the machine. */
const LAG_MAX_MS = 2_000;

/** Plays the episode of `seed`. */
export async function playEpisode(seed: number): Promise<Episode> {
  const dice = new Dice(seed);
  const findings: string[] = [];
  const onFinding = (what: string): void => {
    if (findings.length < 20) findings.push(what);
  };
  const onThrown = (error: unknown): void => {
    onFinding(`thrown asynchronously: ${error instanceof Error ? error.stack : String(error)}`);
  };
  process.on('unhandledRejection', onThrown);
  process.on('uncaughtException', onThrown);
  const server = new FuzzServer(seed, dice.chance(0.5));
  await server.listen();
  const lag = new LagWatch();
  const speed = dice.of([1, 30]);
  const startedAt = performance.now();
  const clients = Array.from({ length: dice.between(1, 8) }, (_, n) => {
    const url = new URL(`http://127.0.0.1:${server.port}/client-${n}`);
    const own = new Dice(dice.between(0, 2 ** 31));
    return new FuzzClient({ dice: own, clock: new HurriedClock(speed), url, onFinding });
  });
  try {
    const cuts = cutNowAndThen(server, dice);
    await Promise.all(clients.map((client) => client.live()));
    clearInterval(cuts);
    const seconds = ((performance.now() - startedAt) / 1_000) * speed;
    await lookAtSockets(server, onFinding);
    await lookAtSilence(server, onFinding);
    for (const [n, { resumes }] of clients.entries()) {
      const own = server.seen.filter((each) => each.client === `client-${n}`);
      lookAtRequests(own, { seconds, resumes, onFinding });
    }
  } finally {
    await server.close();
    const lagMs = lag.stop();
    if (lagMs > LAG_MAX_MS) onFinding(`the loop stood still for ${lagMs.toFixed()} ms`);
    process.off('unhandledRejection', onThrown);
    process.off('uncaughtException', onThrown);
  }
  const { seen, answered } = server;
  const sends = clients.reduce((sum, client) => sum + client.sent.length, 0);
  const messages = clients.reduce((sum, client) => sum + client.messages, 0);
  return { seed, requests: seen.length, sends, messages, answered, findings };
}

function cutNowAndThen(server: FuzzServer, dice: Dice): NodeJS.Timeout {
  return setInterval(() => {
    if (dice.chance(0.3)) server.cut(dice);
  }, 20);
}

async function lookAtSockets(server: FuzzServer, onFinding: (what: string) => void): Promise<void> {
  const deadline = performance.now() + SOCKETS_GONE_MS;
  do await pause(5);
  while (server.open.length > 0 && performance.now() < deadline);
  for (const last of server.open) onFinding(`socket left after close: ${last}`);
}

/** What was written before the close has come by now, for its sockets are gone. */
async function lookAtSilence(server: FuzzServer, onFinding: (what: string) => void): Promise<void> {
  const count = server.seen.length;
  await pause(SILENCE_MS);
  const late = [
    ...server.seen.slice(count),
    ...server.seen.filter(({ rpcMethod }) => rpcMethod === 'late'),
  ];
  const [first] = late;
  if (first === undefined) return;
  onFinding(`${late.length} requests after close, first ${first.method} of ${first.stream}`);
}

interface RequestRules {
  /** How long the client lived, by its clock. */
  readonly seconds: number;
  /** GETs that it asked for itself. */
  readonly resumes: number;
  readonly onFinding: (what: string) => void;
}

function lookAtRequests(seen: readonly SeenRequest[], rules: RequestRules): void {
  const { seconds, resumes, onFinding } = rules;
  const gets = new Map<string, number>();
  const posts = new Map<string, number>();
  for (const { method, stream, path, id } of seen) {
    // What a redirect led to.
    if (path.includes('?hop=')) continue;
    if (method === 'GET') gets.set(stream, (gets.get(stream) ?? 0) + 1);
    if (method === 'POST' && stream !== 'listen') {
      posts.set(`${stream} ${id}`, (posts.get(`${stream} ${id}`) ?? 0) + 1);
    }
  }
  for (const [stream, count] of gets) {
    if (count > GETS_AT_ONCE_MAX + resumes + GETS_PER_SECOND_MAX * seconds) {
      onFinding(`${count} GETs of ${stream} in ${seconds.toFixed(1)} s`);
    }
  }
  for (const [post, count] of posts) {
    if (count > 1) onFinding(`${post} was posted ${count} times`);
  }
}

/** Tells for how long the event loop stood still at most. */
class LagWatch {
  #longestMs = 0;
  #lastAt = performance.now();
  readonly #timer = setInterval(() => this.#look(), 10);

  stop(): number {
    this.#look();
    clearInterval(this.#timer);
    return this.#longestMs;
  }

  #look(): void {
    const now = performance.now();
    this.#longestMs = Math.max(this.#longestMs, now - this.#lastAt);
    this.#lastAt = now;
  }
}
