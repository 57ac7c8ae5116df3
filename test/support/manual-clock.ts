// Stands in until every test names the testing kit by its package entry.

export { ManualClock } from 'mcp-session-pool/testing';
export { runMicrotasks } from './microtasks.ts';
