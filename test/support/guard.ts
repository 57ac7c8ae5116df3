// Runs around every test file and fails it for what no single test would see: an unhandled
// rejection, a warning of Node about listeners or timers, a handle left behind (promise P2).

import { afterAll } from 'vitest';

/** Names of the warnings that tell of a leak or of a timer value that Node replaced by 1 ms. */
const FATAL_WARNINGS = new Set([
  'MaxListenersExceededWarning',
  'TimeoutOverflowWarning',
  'TimeoutNegativeWarning',
  'TimeoutNaNWarning',
]);
/** What a file must not leave behind. Other kinds come and go with the test runner itself. */
const WATCHED_HANDLES = ['Timeout', 'TCPSocketWrap', 'TCPServerWrap', 'ProcessWrap'];
/** How long handles of peers may take to go: sockets close on their own schedule. */
const GRACE_MS = 2_000;

// Taken now, so that a test that fakes timers can't reach them.
const { setTimeout: startTimer } = globalThis;
const now = performance.now.bind(performance);

const troubles: string[] = [];
// Counted before any hook runs: in hooks, the runner has a timer of its own now and then.
const handlesBefore = countHandles();

const onRejection = (reason: unknown): void => {
  troubles.push(`unhandled rejection: ${reason instanceof Error ? reason.stack : String(reason)}`);
};
const onWarning = (warning: Error): void => {
  if (FATAL_WARNINGS.has(warning.name)) troubles.push(`warning: ${warning.stack}`);
};

function countHandles(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) {
    if (WATCHED_HANDLES.includes(kind)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

function handlesBeyondStart(): string[] {
  const left: string[] = [];
  for (const [kind, count] of countHandles()) {
    const extra = count - (handlesBefore.get(kind) ?? 0);
    if (extra > 0) left.push(`${extra} ${kind}`);
  }
  return left;
}

process.on('unhandledRejection', onRejection);
process.on('warning', onWarning);

// Hooks that come after run in reverse order, so this one runs after those of the file.
afterAll(async () => {
  const deadline = now() + GRACE_MS;
  let left = handlesBeyondStart();
  while (left.length > 0 && now() < deadline) {
    await new Promise((resolve) => startTimer(resolve, 20));
    left = handlesBeyondStart();
  }
  if (left.length > 0) troubles.push(`handles left behind: ${left.join(', ')}`);
  process.off('unhandledRejection', onRejection);
  process.off('warning', onWarning);
  if (troubles.length > 0) throw new Error(`The test file left trouble:\n${troubles.join('\n')}`);
});
