// What is remembered of the protocols that servers speak, and what is forgotten.

import { describe, expect, test } from 'vitest';
import { ProtocolMemory } from '../../src/connect/protocol-memory.ts';

const at = (path: string, origin = 'https://one.example'): URL => new URL(path, origin);

describe('the memory of protocols', () => {
  test('knows an endpoint by origin and path, and keeps no query', () => {
    const memory = new ProtocolMemory();
    memory.learn(at('/sse?token=secret'), 'sse');
    expect(memory.knows(at('/sse?token=other'))).toBe(true);
    expect(memory.guess(at('/sse'))).toBe('sse');
    expect(memory.knows(at('/sse', 'http://one.example'))).toBe(false);
    expect(memory.guess(at('/sse', 'https://one.example:8443'))).toBeUndefined();
  });

  test('guesses of an endpoint what its origin was last found to speak, and knows it not', () => {
    const memory = new ProtocolMemory();
    memory.learn(at('/mcp'), 'streamable-http');
    memory.learn(at('/sse'), 'sse');
    expect([memory.guess(at('/new')), memory.knows(at('/new'))]).toEqual(['sse', false]);
    expect(memory.guess(at('/mcp'))).toBe('streamable-http');
    expect(memory.guess(at('/', 'https://two.example'))).toBeUndefined();
  });

  test('takes the root for an endpoint like any other', () => {
    const memory = new ProtocolMemory();
    memory.learn(at('/mcp'), 'sse');
    expect(memory.knows(at('/'))).toBe(false);
    memory.learn(at('/'), 'streamable-http');
    expect([memory.guess(at('/')), memory.guess(at('/mcp'))]).toEqual(['streamable-http', 'sse']);
  });

  test('dismisses what was supposed of an endpoint and of its origin, and no other endpoint', () => {
    const memory = new ProtocolMemory();
    memory.suppose(at('/mcp'), 'streamable-http');
    memory.suppose(at('/typo'), 'sse');
    expect([memory.guess(at('/typo')), memory.guess(at('/new'))]).toEqual(['sse', 'sse']);
    memory.dismiss(at('/typo'));
    expect([memory.guess(at('/typo')), memory.guess(at('/new'))]).toEqual([undefined, undefined]);
    expect(memory.guess(at('/mcp'))).toBe('streamable-http');
  });

  test('changes what a session has shown by another session alone', () => {
    const memory = new ProtocolMemory();
    memory.learn(at('/mcp'), 'streamable-http');
    memory.suppose(at('/mcp'), 'sse');
    memory.suppose(at('/other'), 'sse');
    expect(memory.guess(at('/mcp'))).toBe('streamable-http');
    expect([memory.guess(at('/new')), memory.guess(at('/other'))]).toEqual([
      'streamable-http',
      'sse',
    ]);
    memory.dismiss(at('/mcp'));
    memory.dismiss(at('/other'));
    expect([memory.knows(at('/mcp')), memory.knows(at('/other'))]).toEqual([true, false]);
    memory.learn(at('/mcp'), 'sse');
    expect(memory.guess(at('/mcp'))).toBe('sse');
  });

  test('is bounded: what was looked at longest ago goes first', () => {
    const memory = new ProtocolMemory();
    memory.learn(at('/kept'), 'sse');
    memory.learn(at('/dropped'), 'sse');
    for (let n = 0; n < 1_996; n += 1) memory.learn(at(`/${n}`), 'streamable-http');
    expect(memory.knows(at('/kept'))).toBe(true);
    memory.learn(at('/one-more'), 'streamable-http');
    memory.learn(at('/and-another'), 'streamable-http');
    expect([memory.knows(at('/kept')), memory.knows(at('/dropped'))]).toEqual([true, false]);
    expect(memory.knows(at('/0'))).toBe(true);
  });
});
