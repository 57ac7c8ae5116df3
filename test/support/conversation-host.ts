// The server of scripted conversations: one for all of them, each at a path of its own. Answers what
// the step at hand says, and writes down what came.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { canonical, type ScriptedAnswer, type SeenRequest, type Step } from './conversation.ts';

const ACCEPTED: ScriptedAnswer = { status: 202, headers: {}, parts: [], end: 'whole' };
const NO_STREAM: ScriptedAnswer = { status: 405, headers: {}, parts: [], end: 'whole' };
const ENDED: ScriptedAnswer = { status: 204, headers: {}, parts: [], end: 'whole' };

/** The server's side of one conversation with one transport. */
export class HostedTalk {
  readonly url: URL;
  /** How often something happened. */
  activity = 0;
  /** Answers being written. */
  busy = 0;
  /** The notification stream that is open. */
  stream: ServerResponse | undefined;
  /** The answer to a POST of this step that was left open. */
  openPost: ServerResponse | undefined;
  #requests: string[] = [];
  #posts: ScriptedAnswer[] = [];
  #gets: ScriptedAnswer[] = [];
  #deletes: ScriptedAnswer[] = [];
  /** POSTs that wait until all of the step's have come. Empty while they are answered at once. */
  #gathering: { readonly place: number; readonly response: ServerResponse }[] = [];
  #gather: readonly unknown[] = [];

  constructor(url: URL) {
    this.url = url;
  }

  /** How many of the step's answers nobody has asked for. */
  get unasked(): number {
    return this.#posts.length + this.#gets.length + this.#deletes.length;
  }

  /** Turns to the next step; what comes from now on is written to `requests`. */
  begin(step: Step, requests: string[]): void {
    this.#requests = requests;
    this.#posts = [...step.posts];
    this.#gets = [...step.gets];
    this.#deletes = [...step.deletes];
    this.openPost = undefined;
    const { act } = step;
    this.#gather = act.do === 'call' && act.calls.length > 1 ? act.calls.map(({ id }) => id) : [];
    this.#gathering = [];
    this.touch();
  }

  touch(): void {
    this.activity += 1;
  }

  async onRequest(request: IncomingMessage, response: ServerResponse, body: string): Promise<void> {
    const { method = '', headers, url = '' } = request;
    const seen: SeenRequest = {
      method,
      path: url.slice(this.url.pathname.length),
      body: body === '' ? '' : canonical(JSON.parse(body)),
      accept: headers.accept,
      contentType: headers['content-type'],
      sessionId: oneOf(headers['mcp-session-id']),
      version: oneOf(headers['mcp-protocol-version']),
      lastEventId: oneOf(headers['last-event-id']),
    };
    this.#requests.push(canonical(seen));
    this.touch();
    if (method === 'GET') {
      const answer = this.#gets.shift() ?? NO_STREAM;
      if (answer.end === 'open') this.stream = response;
      await this.write(response, answer);
    } else if (method === 'DELETE') {
      await this.write(response, this.#deletes.shift() ?? ENDED);
    } else if (this.#gather.length > 0) {
      await this.#answerTogether(response, JSON.parse(body) as { id?: unknown });
    } else {
      const answer = this.#posts.shift() ?? ACCEPTED;
      if (answer.end === 'open') this.openPost = response;
      await this.write(response, answer);
    }
  }

  /** Writes an answer, head first; `undefined` for a head that is out already. */
  async write(
    response: ServerResponse,
    { status, headers, parts, end }: Omit<ScriptedAnswer, 'status'> & { status?: number },
  ): Promise<void> {
    this.busy += 1;
    try {
      if (status === 0) return void response.destroy();
      if (status !== undefined) response.writeHead(status, headers).flushHeaders();
      for (const part of parts) {
        if (response.destroyed) return;
        if (typeof part === 'number') await pause(part);
        else await written(response, part);
        await turn();
      }
      if (end === 'whole') response.end();
      else if (end === 'cut') response.destroy();
    } finally {
      this.busy -= 1;
      this.touch();
    }
  }

  async #answerTogether(response: ServerResponse, { id }: { id?: unknown }): Promise<void> {
    this.#gathering.push({ place: this.#gather.indexOf(id), response });
    if (this.#gathering.length < this.#gather.length) return;
    const waiting = this.#gathering.toSorted((a, b) => a.place - b.place);
    const posts = this.#posts;
    this.#posts = [];
    this.#gather = [];
    for (const { place, response: each } of waiting) await this.write(each, posts[place]!);
  }
}

/** See the file header. */
export class ConversationHost {
  readonly #talks = new Map<string, HostedTalk>();
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('error', () => {});
    response.on('error', () => {});
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { pathname } = new URL(request.url ?? '', 'http://host');
      const talk = this.#talks.get(pathname);
      if (talk === undefined) response.writeHead(410).end();
      else void talk.onRequest(request, response, Buffer.concat(chunks).toString());
    });
  });

  async listen(): Promise<void> {
    this.#server.on('connection', (socket) => {
      socket.setNoDelay(true);
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve) =>
      this.#server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, resolve),
    );
  }

  /** Opens a path. */
  host(path: string): HostedTalk {
    const { port } = this.#server.address() as AddressInfo;
    const talk = new HostedTalk(new URL(path, `http://127.0.0.1:${port}`));
    this.#talks.set(path, talk);
    return talk;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }
}

/** Lets real time pass. */
export function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}

/** Settles when `part` is on its way, or nobody is left to take it. */
function written(response: ServerResponse, part: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      response.off('close', over);
      resolve();
    };
    response.once('close', over);
    response.write(part, over);
  });
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const oneOf = (value: string | string[] | undefined): string | undefined =>
  Array.isArray(value) ? value.join(', ') : value;
