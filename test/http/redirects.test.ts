import { describe, expect, it } from 'vitest';
import { describeRedirect, redirectToFollow } from '../../src/http/redirects.ts';

const headOf = (status: number, location?: string | string[]) => ({
  status,
  headers: { location },
});
const target = (from: string, location: string, method = 'POST', status = 307) =>
  redirectToFollow(headOf(status, location), new URL(from), method)?.href;

describe('redirectToFollow', () => {
  it.each([301, 302, 303, 307, 308])('follows %i for a GET', (status) => {
    expect(target('http://a.example/x', '/y', 'GET', status)).toBe('http://a.example/y');
  });

  it.each(['POST', 'DELETE'])('follows only what keeps method and body for a %s', (method) => {
    const followed = [301, 302, 303, 307, 308].filter(
      (status) => target('http://a.example/x', '/y', method, status) !== undefined,
    );
    expect(followed).toEqual([307, 308]);
  });

  it.each([200, 201, 300, 304, 305, 306, 309, 401])('follows no %i', (status) => {
    expect(target('http://a.example/x', '/y', 'GET', status)).toBeUndefined();
  });

  it.each([
    ['a path', 'http://a.example/x/y?q#f', '/z', 'http://a.example/z'],
    ['a relative path', 'http://a.example/x/y?q', 'z?r', 'http://a.example/x/z?r'],
    ['a query', 'http://a.example/x/y', '?r=1', 'http://a.example/x/y?r=1'],
    ['the whole URL', 'http://a.example/x', 'http://a.example/z', 'http://a.example/z'],
    [
      'the default port, spelled out',
      'http://a.example/x',
      'http://a.example:80/z',
      'http://a.example/z',
    ],
    ['the same port', 'http://a.example:81/x', '//a.example:81/z', 'http://a.example:81/z'],
    ['another case', 'http://a.example/x', 'HTTP://A.EXAMPLE/z', 'http://a.example/z'],
    ['https, on default ports', 'http://a.example/x', 'https://a.example/z', 'https://a.example/z'],
    ['https, on :443', 'http://a.example:80/x', 'https://a.example:443/z', 'https://a.example/z'],
    [
      'its own user info',
      'http://u:p@a.example/x',
      'http://u:p@a.example/z',
      'http://u:p@a.example/z',
    ],
    ['user info left out', 'http://u:p@a.example/x', 'http://a.example/z', 'http://a.example/z'],
  ])('goes to %s', (_name, from, location, to) => {
    expect(target(from, location)).toBe(to);
  });

  it.each([
    ['another host', 'http://a.example/x', 'http://b.example/x'],
    ['a subdomain', 'http://a.example/x', 'http://b.a.example/x'],
    ['another host without a scheme', 'http://a.example/x', '//b.example/x'],
    ['another host behind backslashes', 'http://a.example/x', '\\\\b.example/x'],
    ['another port', 'http://a.example/x', 'http://a.example:81/x'],
    ['plain http', 'https://a.example/x', 'http://a.example/x'],
    ['https from a port of its own', 'http://a.example:81/x', 'https://a.example/x'],
    ['https on a port of its own', 'http://a.example/x', 'https://a.example:444/x'],
    ['https on the port that http had', 'http://a.example:81/x', 'https://a.example:81/x'],
    ['https of another host', 'http://a.example/x', 'https://b.example/x'],
    ['added user info', 'http://a.example/x', 'http://u@a.example/x'],
    ['an added password', 'http://a.example/x', 'http://:p@a.example/x'],
    ['another user', 'http://u:p@a.example/x', 'http://v:p@a.example/x'],
    ['another password', 'http://u:p@a.example/x', 'http://u:q@a.example/x'],
    ['another scheme', 'http://a.example/x', 'ftp://a.example/x'],
    ['data', 'http://a.example/x', 'data:text/plain,x'],
    ['no URL', 'http://a.example/x', 'http://'],
    ['nothing', 'http://a.example/x', ''],
  ])('does not go to %s', (_name, from, location) => {
    expect(target(from, location, 'GET')).toBeUndefined();
  });

  it('goes nowhere without a location, and to the first of several', () => {
    const url = new URL('http://a.example/x');
    expect(redirectToFollow(headOf(307), url, 'GET')).toBeUndefined();
    expect(redirectToFollow(headOf(307, ['/1', '/2']), url, 'GET')?.pathname).toBe('/1');
  });
});

describe('describeRedirect', () => {
  const describeFrom = (from: string, status: number, location?: string) =>
    describeRedirect(headOf(status, location), new URL(from));

  it('names the target without user info, query and fragment', () => {
    expect(describeFrom('http://a.example/', 302, 'https://u:p@other.example/x?token=1#f')).toBe(
      'Redirect to https://other.example/x not followed',
    );
    expect(describeFrom('http://a.example/x', 301, '/y?z')).toBe(
      'Redirect to http://a.example/y not followed',
    );
  });

  it('advises https where a redirect leads from it to plain http', () => {
    expect(describeFrom('https://a.example/x', 307, 'http://a.example/x/?y')).toBe(
      'Redirect to plain http not followed; try https://a.example/x/ instead',
    );
  });

  it.each([
    ['is no redirect', 200, '/y'],
    ['is 304', 304, '/y'],
    ['has no location', 302, undefined],
    ['leads to no URL', 302, 'http://'],
  ])('says nothing about an answer that %s', (_name, status, location) => {
    expect(describeFrom('http://a.example/x', status, location)).toBeUndefined();
  });
});
