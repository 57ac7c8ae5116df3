// The server of one fuzz episode, on bare sockets: reads requests, answers each as chance has it,
// and counts sockets and requests. Half of the servers garble some of their answers.

import type { AddressInfo } from 'node:net';
import { createServer, type Server, type Socket } from 'node:net';
import { Dice } from './dice.ts';
import {
  anyAnswer,
  cutUp,
  type FuzzAnswer,
  type FuzzRequest,
  pollingAnswer,
} from './fuzz-answers.ts';
import { garbled } from './fuzz-garbage.ts';

/** A request that came. */
export interface SeenRequest extends FuzzRequest {
  /** Whose it is: the first part of its path. */
  readonly client: string;
  /** The stream a GET belongs to, as its `x-stream` says. */
  readonly stream: string;
}

/** What happened at the server of one episode. */
export class FuzzServer {
  readonly seen: SeenRequest[] = [];
  /** How often which kind of answer was given. */
  readonly answered: Map<string, number> = new Map();
  readonly #seed: number;
  readonly #garbles: boolean;
  /** Those that are open, each with what came last on it and how that was answered. */
  readonly #sockets = new Map<Socket, string>();
  readonly #counts = new Map<string, number>();
  readonly #server: Server;
  readonly #timers: Set<NodeJS.Timeout> = new Set();

  constructor(seed: number, garbles: boolean) {
    this.#seed = seed;
    this.#garbles = garbles;
    this.#server = createServer({ noDelay: true }, (socket) => this.#onSocket(socket));
  }

  /** Of each connection that is open, the last that happened on it. */
  get open(): readonly string[] {
    return [...this.#sockets.values()];
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
  }

  /** Cuts one connection, or all of them. */
  cut(dice: Dice): void {
    const sockets = [...this.#sockets.keys()];
    if (dice.chance(0.3)) for (const socket of sockets) socket.destroy();
    else reset(dice.maybeOf(sockets));
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    for (const socket of this.#sockets.keys()) socket.destroy();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  #onSocket(socket: Socket): void {
    this.#sockets.set(socket, 'nothing came');
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    let received = '';
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
      for (;;) {
        const bodyAt = received.indexOf('\r\n\r\n') + 4;
        if (bodyAt < 4) return;
        const headers = received.slice(0, bodyAt);
        const length = Number(/^content-length: (\d+)/im.exec(headers)?.[1] ?? 0);
        if (received.length < bodyAt + length) return;
        const body = received.slice(bodyAt, bodyAt + length);
        received = received.slice(bodyAt + length);
        this.#onRequest(socket, headers, body);
      }
    });
  }

  #onRequest(socket: Socket, headers: string, body: string): void {
    const [, method = '', path = ''] = /^(\S+) (\S+)/.exec(headers) ?? [];
    const client = path.split(/[/?]/)[1] ?? '';
    const stream = /^x-stream: (.*)$/im.exec(headers)?.[1]?.trim() ?? '';
    const { id, method: rpcMethod } = parsed(body);
    const request = { method, path, id, rpcMethod, client, stream };
    this.seen.push(request);
    const name = `${client} ${method} ${stream}`;
    const count = (this.#counts.get(name) ?? 0) + 1;
    this.#counts.set(name, count);
    // Of the request alone, so that the order in which requests come changes no answer.
    const dice = new Dice(hash(`${this.#seed} ${name} ${count}`));
    const answer = this.#answerTo(dice, request);
    this.answered.set(answer.kind, (this.answered.get(answer.kind) ?? 0) + 1);
    const last = `${method} of ${stream} for ${rpcMethod}, ${answer.kind}, ${answer.tail}`;
    this.#sockets.set(socket, last);
    this.#write(dice, socket, answer);
  }

  #answerTo(dice: Dice, request: SeenRequest): FuzzAnswer {
    const { client, stream, method, id } = request;
    // A habit of the stream, not of the request: only what goes on and on shows a hot loop.
    const isPolling = new Dice(hash(`${this.#seed} ${client} ${stream}`)).chance(0.25);
    if (isPolling && (method === 'GET' || id !== undefined)) return pollingAnswer(dice, request);
    const plain = anyAnswer(dice, request);
    return this.#garbles && dice.chance(0.4) ? garbled(dice, plain) : plain;
  }

  /** Writes the pieces, some of them later, and ends as the answer says. */
  #write(dice: Dice, socket: Socket, { pieces, tail }: FuzzAnswer): void {
    const isSlow = dice.chance(0.4);
    const parts = pieces.flatMap((piece) => (isSlow ? cutUp(dice, piece) : [piece]));
    const next = (at: number): void => {
      const part = parts[at];
      if (socket.destroyed) return;
      if (part === undefined) {
        if (tail === 'end') socket.end();
        else if (tail === 'reset') reset(socket);
        return;
      }
      socket.write(part);
      if (!isSlow) return next(at + 1);
      const timer = setTimeout(
        () => {
          this.#timers.delete(timer);
          next(at + 1);
        },
        dice.between(0, 8),
      );
      this.#timers.add(timer);
    };
    next(0);
  }
}

/** Node never closes a socket that is reset while its end is on the way (`EINVAL`, Node 20). */
function reset(socket: Socket | undefined): void {
  if (socket?.writableEnded === true) socket.destroy();
  else socket?.resetAndDestroy();
}

function parsed(body: string): { id?: string | number; method?: string } {
  try {
    return JSON.parse(body) as { id?: string | number; method?: string };
  } catch {
    return {};
  }
}

function hash(text: string): number {
  let value = 2_166_136_261;
  for (let at = 0; at < text.length; at += 1) {
    value = Math.imul(value ^ text.charCodeAt(at), 16_777_619);
  }
  return value >>> 0;
}
