import { describe, expect, it } from 'vitest';
import { routeNotification, routeRequest } from '../../src/connect/message-route.ts';

const attributed = { attributed: true, leases: 2, exclusive: false };
const shared = { attributed: false, leases: 2, exclusive: false };
const exclusive = { attributed: false, leases: 1, exclusive: true };
const idle = { attributed: false, leases: 0, exclusive: true };

describe('the route of a message of the server', () => {
  it.each([
    ['ping', attributed, 'session'],
    ['ping', idle, 'session'],
    ['sampling/createMessage', attributed, 'origin'],
    ['sampling/createMessage', exclusive, 'only-lease'],
    ['sampling/createMessage', shared, 'session'],
    ['roots/list', { ...shared, leases: 1 }, 'session'],
    ['elicitation/create', idle, 'session'],
  ] as const)('as a request: %s %j -> %s', (method, view, route) => {
    expect(routeRequest(method, view)).toBe(route);
  });

  it.each([
    ['notifications/tools/list_changed', attributed, 'all-leases'],
    ['notifications/prompts/list_changed', shared, 'all-leases'],
    ['notifications/resources/list_changed', exclusive, 'all-leases'],
    ['notifications/resources/updated', shared, 'all-leases'],
    ['notifications/message', attributed, 'origin'],
    ['notifications/message', exclusive, 'only-lease'],
    ['notifications/message', shared, 'nobody'],
    ['notifications/message', idle, 'nobody'],
    ['notifications/of/our/own', shared, 'nobody'],
  ] as const)('as a notification: %s %j -> %s', (method, view, route) => {
    expect(routeNotification(method, view)).toBe(route);
  });
});
