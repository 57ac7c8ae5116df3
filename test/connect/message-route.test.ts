import { describe, expect, it } from 'vitest';
import { routeNotification, routeRequest } from '../../src/connect/message-route.ts';

const attributed = { origin: 'live', leases: 2, exclusive: false } as const;
const shared = { origin: 'unknown', leases: 2, exclusive: false } as const;
const exclusive = { origin: 'unknown', leases: 1, exclusive: true } as const;
const idle = { origin: 'unknown', leases: 0, exclusive: true } as const;
const stale = { origin: 'over', leases: 1, exclusive: true } as const;

describe('the route of a message of the server', () => {
  it.each([
    ['ping', attributed, 'session'],
    ['ping', idle, 'session'],
    ['sampling/createMessage', attributed, 'origin'],
    ['sampling/createMessage', exclusive, 'only-lease'],
    ['sampling/createMessage', shared, 'session'],
    ['roots/list', { ...shared, leases: 1 }, 'session'],
    ['elicitation/create', idle, 'session'],
    ['elicitation/create', stale, 'caller-gone'],
  ] as const)('as a request: %s %j -> %s', (method, view, route) => {
    expect(routeRequest(method, view)).toBe(route);
  });

  it.each([
    ['notifications/tools/list_changed', attributed, 'everybody'],
    ['notifications/prompts/list_changed', shared, 'everybody'],
    ['notifications/resources/list_changed', exclusive, 'everybody'],
    ['notifications/resources/updated', shared, 'everybody'],
    ['notifications/message', attributed, 'origin'],
    ['notifications/message', exclusive, 'only-lease'],
    ['notifications/message', shared, 'session'],
    ['notifications/message', idle, 'session'],
    ['notifications/message', stale, 'caller-gone'],
    ['notifications/tools/list_changed', stale, 'everybody'],
    ['notifications/of/our/own', shared, 'session'],
  ] as const)('as a notification: %s %j -> %s', (method, view, route) => {
    expect(routeNotification(method, view)).toBe(route);
  });
});
