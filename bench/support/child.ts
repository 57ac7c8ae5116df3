// Runs parts of a bench in processes of their own, so that one's heap, timers and sockets are not
// another's. A child takes one JSON argument, sends messages, and must exit by itself.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** What the figures need: the collector at hand, and V8 not collecting on its own while idle. */
const FLAGS = ['--expose-gc', '--no-memory-reducer'];

export interface Child {
  /** The next message of the child that `reply` has not given yet. Rejects when it ends first. */
  reply(): Promise<unknown>;
  send(message: unknown): void;
  /** How long the child took to exit by itself; `undefined` when it had to be killed. */
  exited(withinMs: number): Promise<number | undefined>;
  /** Ends it, if it still runs. */
  stop(): Promise<void>;
}

/** Starts `children/<name>` with `input`. It is killed after `limitMs`, whatever happens. */
export function startChild(name: string, input: unknown, limitMs = 300_000): Child {
  const script = fileURLToPath(new URL(`../children/${name}.js`, import.meta.url));
  const child = fork(script, [JSON.stringify(input)], { execArgv: FLAGS });
  const limit = setTimeout(() => child.kill('SIGKILL'), limitMs);
  const gone = once(child, 'exit').finally(() => clearTimeout(limit));
  const next = mailbox(child, name);
  return {
    reply: next,
    send: (message) => {
      child.send(message as object);
    },
    exited: async (withinMs) => {
      const since = performance.now();
      const patience = setTimeout(() => child.kill('SIGKILL'), withinMs);
      await gone;
      clearTimeout(patience);
      return child.signalCode === null ? performance.now() - since : undefined;
    },
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await gone;
    },
  };
}

/** Starts a child, takes its one message, and waits until it is gone. */
export async function askChild<T>(name: string, input: unknown): Promise<T> {
  const child = startChild(name, input);
  try {
    return (await child.reply()) as T;
  } finally {
    await child.stop();
  }
}

/** For the child's side: what `startChild` was given. */
export function childInput<T>(): T {
  return JSON.parse(process.argv[2] ?? 'null') as T;
}

/** For the child's side. */
export function tellParent(message: unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    if (process.send === undefined) throw new Error('Must be run by a bench');
    process.send(message, (error: Error | null) => (error ? reject(error) : resolve()));
  });
}

/** For the child's side. Without a listener left, the channel does not keep the process alive. */
export async function parentSays(): Promise<unknown> {
  const [message] = await once(process, 'message');
  return message;
}

function mailbox(child: ChildProcess, name: string): () => Promise<unknown> {
  const arrived: unknown[] = [];
  const waiting: { resolve: (message: unknown) => void; reject: (error: Error) => void }[] = [];
  let ended: Error | undefined;
  child.on('message', (message) => {
    const next = waiting.shift();
    if (next) next.resolve(message);
    else arrived.push(message);
  });
  child.once('exit', (code, signal) => {
    ended = new Error(`Child ${name} ended (${signal ?? code}) before it answered`);
    for (const each of waiting.splice(0)) each.reject(ended);
  });
  return () => {
    if (arrived.length > 0) return Promise.resolve(arrived.shift());
    if (ended) return Promise.reject(ended);
    return new Promise((resolve, reject) => waiting.push({ resolve, reject }));
  };
}
