// The hazards that a hostile server can be asked for, by name: what each does, and what it stands
// for in the field. Data only; `hostile-acts.ts` does it. README's table is compared with this.

/** A hazard. What each does and stands for is in `HOSTILE_SERVERS`. */
export type HostileServerName =
  // Before there is a session.
  | 'refuses-connections'
  | 'resets-connections'
  | 'black-hole'
  | 'initialized-unanswered'
  | 'accepted-never-ends'
  | 'bad-session-id'
  | 'unauthorized'
  | 'forbidden'
  | 'rate-limited'
  | 'unavailable'
  | 'redirects-elsewhere'
  | 'answers-html'
  | 'error-never-ends'
  // The notification stream (GET) of an open session.
  | 'get-ends-at-once'
  | 'get-retry-overflow'
  | 'get-never-answers'
  | 'get-flaps-then-hangs'
  | 'get-floods'
  | 'get-endless-line'
  // Calls.
  | 'never-ends'
  | 'call-unanswered'
  | 'call-cut'
  | 'call-reset'
  | 'call-accepted'
  | 'call-garbage'
  | 'call-floods'
  | 'call-endless-line'
  | 'resume-refused'
  | 'resume-never-ends'
  | 'keeps-stream-open'
  | 'duplicate-answers'
  | 'wrong-ids'
  // The session itself.
  | 'session-forgotten'
  | 'session-forgotten-400'
  | 'delete-unanswered'
  | 'asks-nobody'
  // Servers of the SSE transport of 2024-11-05.
  | 'sse-no-endpoint'
  | 'sse-drops'
  | 'sse-retry-zero';

/** What a hazard is. */
export interface HostileServerInfo {
  /** What the server does. Besides this it is a good MCP server. */
  readonly does: string;
  /** Where it is met, or what it has done to clients. */
  readonly standsFor: string;
}

/** Every hazard there is. Made for `test.each(Object.keys(HOSTILE_SERVERS))` as well. */
export const HOSTILE_SERVERS: Readonly<Record<HostileServerName, HostileServerInfo>> = {
  'refuses-connections': {
    does: 'nobody listens on its port',
    standsFor: 'a server that is down, or restarts',
  },
  'resets-connections': {
    does: 'resets each connection once a request has been read',
    standsFor: 'a worker that crashes, a proxy that gives up in mid-request',
  },
  'black-hole': {
    does: 'accepts connections and never answers a byte, `initialize` included',
    standsFor: 'a worker that is stuck; a connect without a deadline of its own waits a minute',
  },
  'initialized-unanswered': {
    does: 'answers `initialize`, never the `notifications/initialized` after it',
    standsFor: 'a connect whose own timeout covers `initialize` alone: five minutes',
  },
  'accepted-never-ends': {
    does: 'answers notifications with 202 and a body that never ends',
    standsFor: 'a client that reads the body of a 202 to its end',
  },
  'bad-session-id': {
    does: 'gives a session id with characters that the specification forbids',
    standsFor: 'header injection, and ids that cannot be sent back',
  },
  unauthorized: {
    does: 'answers everything with 401 and a `WWW-Authenticate` challenge',
    standsFor: 'a token that expired or was revoked',
  },
  forbidden: { does: 'answers everything with 403', standsFor: 'a user who lacks the scope' },
  'rate-limited': {
    does: 'answers everything with 429 and `Retry-After: 2`',
    standsFor: 'a quota that is used up',
  },
  unavailable: {
    does: 'answers everything with 503 and `Retry-After: 2`',
    standsFor: 'a deployment under way, a proxy without a backend',
  },
  'redirects-elsewhere': {
    does: 'redirects everything (307) to another origin, which answers well',
    standsFor: 'credentials that follow a redirect to where they were not meant to go',
  },
  'answers-html': {
    does: 'answers everything with 200 and a web page',
    standsFor: 'the sign-in page of a proxy in between',
  },
  'error-never-ends': {
    does: 'answers everything with 503 and a body that never ends',
    standsFor: 'a client that reads the body of an error to its end',
  },
  'get-ends-at-once': {
    does: 'ends each notification stream at once, with `retry: 0`',
    standsFor: 'the reconnect storm of an idle session (LibreChat #12162)',
  },
  'get-retry-overflow': {
    does: 'ends each notification stream at once, with a `retry` over 2^31 ms',
    standsFor: 'a timer that overflows to 1 ms, and so a storm',
  },
  'get-never-answers': {
    does: 'takes the GET of a notification stream and never answers it',
    standsFor: 'a stream reader that waits for ever',
  },
  'get-flaps-then-hangs': {
    does: 'ends the first notification stream of a session, `retry: 0`; answers no other',
    standsFor: 'a closed client that spins on aborted reconnects (mcp-context-forge #2360)',
  },
  'get-floods': {
    does: 'sends log messages over the notification stream, as fast as they are read',
    standsFor: 'a server that logs everything to everybody',
  },
  'get-endless-line': {
    does: 'sends one line without end over the notification stream',
    standsFor: 'a parser that buffers until memory is gone',
  },
  'never-ends': {
    does: 'begins the event stream of a call and never sends anything on it',
    standsFor: 'a tool that hangs',
  },
  'call-unanswered': {
    does: 'takes calls and never answers them, not even with headers',
    standsFor: 'a worker that is stuck, behind a session that looks well',
  },
  'call-cut': {
    does: 'ends the event stream of a call before its answer; it had no event ids',
    standsFor: 'a proxy timeout; clients wait out their whole timeout (typescript-sdk #2739)',
  },
  'call-reset': {
    does: 'resets the connection once a call has been read',
    standsFor: 'a worker that crashes in a call: was it executed?',
  },
  'call-accepted': {
    does: 'answers calls with 202, as if they were notifications',
    standsFor: 'a client that waits for an answer which was never to come',
  },
  'call-garbage': {
    does: 'answers calls with JSON that is cut off in the middle',
    standsFor: 'a worker that dies while it writes, behind a proxy that tidies up',
  },
  'call-floods': {
    does: 'sends log messages over the stream of a call, never its answer',
    standsFor: 'a tool that logs in a loop',
  },
  'call-endless-line': {
    does: 'sends one line without end in place of the answer to a call',
    standsFor: 'a tool that returns the whole database',
  },
  'resume-refused': {
    does: 'ends the stream of a call before its answer, after an event id; refuses to resume it',
    standsFor: 'resumption that is announced and was never built',
  },
  'resume-never-ends': {
    does: 'ends each resumption of the stream of a call at once, with `retry: 0`',
    standsFor: 'a resume loop that outlives the call',
  },
  'keeps-stream-open': {
    does: 'answers a call on an event stream and keeps the stream open',
    standsFor: 'a socket held per call until the session ends',
  },
  'duplicate-answers': {
    does: 'answers each call twice, differently',
    standsFor: 'a server that retries its own answers',
  },
  'wrong-ids': {
    does: 'answers each call under an id that nobody asked with',
    standsFor: 'answers that reach the wrong caller, or none',
  },
  'session-forgotten': {
    does: 'forgets each session after its first call: what names it gets 404',
    standsFor: 'a server that restarts; clients open no new session (typescript-sdk #1708)',
  },
  'session-forgotten-400': {
    does: 'forgets each session after its first call: what names it gets 400, in words',
    standsFor: 'servers that do not know 404, the reference server among them',
  },
  'delete-unanswered': {
    does: 'never answers the DELETE that ends a session',
    standsFor: 'a close that is never acknowledged: shutdown hangs for five minutes',
  },
  'asks-nobody': {
    does: 'asks (ping, elicitation, sampling, roots), also on streams of calls it has answered',
    standsFor: 'requests that belong to no caller (toolhive #5939)',
  },
  'sse-no-endpoint': {
    does: 'opens the SSE stream and never sends its `endpoint` event',
    standsFor: 'a connect that never settles, not even when closed',
  },
  'sse-drops': {
    does: 'drops the SSE stream at the first call',
    standsFor: 'a restarted server: the reconnect lands in a session that was never initialized',
  },
  'sse-retry-zero': {
    does: 'names its endpoint and ends the SSE stream, each time, with `retry: 0`',
    standsFor: 'a reconnect storm before there is a session',
  },
};
