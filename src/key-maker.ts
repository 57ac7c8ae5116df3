// Turns a target into its key: checks it at the door, keeps credentials out of every key, and fails
// closed where it can't see them. Knows nothing of sessions.

import { createHmac, randomBytes } from 'node:crypto';
import { IdentityRequiredError } from './errors.ts';
import { hasSoundMembers, isPlain, type PlainTarget } from './plain-target.ts';
import { canonicalJson, type KeyId, keyId } from './policy/session-key.ts';
import type { CustomTarget, HttpTarget, SessionTarget, StdioTarget } from './target.ts';
import { checkHeaderSource, checkTarget } from './target-check.ts';

/** A target's key, with what may be shown of it. */
export interface TargetKey {
  readonly id: KeyId;
  /** Opaque, stable while the process lives, safe to log. */
  readonly label: string;
  /** Origin, command or server name: safe to log. */
  readonly server: string;
  /** Canonical address, to match `retire({ url })` by. */
  readonly endpoint: string;
  readonly identity: string | undefined;
  /** Endpoint and identity, named or not: who a server takes the key's requests to come from. */
  readonly caller: string;
  readonly affinity: string | undefined;
  readonly leasesPerSession: number | undefined;
  /** Each of its sessions is a process of ours. */
  readonly isProcess: boolean;
}

/** What of a target was looked at when its key was made. Any difference makes the key anew. */
interface Seen {
  readonly url: string | undefined;
  readonly identity: string | undefined;
  readonly affinity: string | undefined;
  readonly leasesPerSession: number | undefined;
  readonly notifications: boolean | undefined;
  readonly transport: string | undefined;
  readonly authProvider: unknown;
  readonly headers: unknown;
  /** Name and value of each header in turn, where the headers are part of the key. */
  readonly headerList: readonly string[] | undefined;
  readonly key: TargetKey;
}

interface Description {
  /** Where the server is. */
  readonly address: readonly string[];
  /** What else tells sessions of one server apart. */
  readonly variant: readonly string[];
  /** Safe to log. */
  readonly server: string;
  /** All that could carry a credential. Goes into a digest only. */
  readonly secrets: unknown;
}

/** What keys are completed from. */
export interface KeyDefaults {
  readonly clientInfo: unknown;
  readonly capabilities: unknown;
  readonly requireIdentity: boolean;
}

/** Keys remembered by URL and identity: as many as a pool has keys by default. */
const MAX_REMEMBERED = 10_000;

export class KeyMaker {
  /** Keys digests, so that none can be guessed from a log or compared across processes. */
  readonly #secret = randomBytes(32);
  readonly #defaults: KeyDefaults;
  /**
   * Keys of plain targets, by URL and identity. Making a key costs 13 µs, and text to look it up by
   * half of one, so the strings that callers have at hand are used as they are.
   */
  readonly #plain = new Map<string, Map<string, TargetKey>>();
  /** How many keys `#plain` holds. */
  #plainCount = 0;
  /** Keys of other targets, by the object: callers do well to keep such targets. */
  readonly #other = new WeakMap<SessionTarget, Seen>();

  constructor(defaults: KeyDefaults) {
    this.#defaults = defaults;
  }

  /**
   * The key of `target`.
   * @throws TypeError or RangeError when the target is malformed.
   * @throws IdentityRequiredError (`IDENTITY_REQUIRED`) when its credentials can't be seen.
   */
  keyOf(target: SessionTarget): TargetKey {
    return isPlain(target) ? this.#keyOfPlain(target) : this.#keyOfOther(target);
  }

  /** The canonical address that `retire({ url })` compares. */
  endpointOf(url: string | URL): string {
    return canonicalJson(this.#httpAddress(new URL(url)));
  }

  #keyOfPlain(target: PlainTarget): TargetKey {
    const found = this.#plain.get(target.url)?.get(target.identity);
    // What is no sound member is refused where targets are checked.
    if (found === undefined || !hasSoundMembers(target)) return this.#learnPlain(target);
    // All else was checked when this URL and identity were first seen.
    checkHeaderSource(target.headers);
    return found;
  }

  #learnPlain(target: PlainTarget): TargetKey {
    const key = this.#make(target);
    // User info and query may carry a credential, which is kept nowhere.
    if (target.url.includes('?') || target.url.includes('@')) return key;
    // Bound: rather than tracking use on every acquire, all are forgotten and made again.
    if (this.#plainCount >= MAX_REMEMBERED) {
      this.#plain.clear();
      this.#plainCount = 0;
    }
    const byIdentity = this.#plain.get(target.url) ?? new Map<string, TargetKey>();
    this.#plain.set(target.url, byIdentity.set(target.identity, key));
    this.#plainCount += 1;
    return key;
  }

  #keyOfOther(target: SessionTarget): TargetKey {
    // `checkTarget` speaks up for what is no object.
    const seen = this.#other.get(target);
    if (seen !== undefined && isUnchanged(target, seen)) return seen.key;
    const key = this.#make(target);
    if ('url' in target && target.clientInfo === undefined && target.capabilities === undefined) {
      this.#other.set(target, look(target, key));
    }
    return key;
  }

  #make(target: SessionTarget): TargetKey {
    checkTarget(target);
    const { identity, affinity } = target;
    if (identity === undefined) this.#demandVisibleCredentials(target);
    const { address, variant, server, secrets } = this.#describe(target);
    const kind = identity === undefined ? 'digest' : 'named';
    const who = [kind, identity ?? this.#digest(secrets, 32)] as const;
    const id = keyId({
      endpoint: [...address, ...variant],
      identity: who,
      affinity,
      leasesPerSession: affinity === undefined ? target.leasesPerSession : undefined,
      clientInfo: target.clientInfo ?? this.#defaults.clientInfo,
      capabilities: target.capabilities ?? this.#defaults.capabilities,
    });
    return {
      id,
      label: this.#digest(id, 9),
      server,
      endpoint: canonicalJson(address),
      identity,
      caller: canonicalJson([address, who]),
      affinity,
      leasesPerSession: target.leasesPerSession,
      isProcess: 'command' in target,
    };
  }

  #demandVisibleCredentials(target: SessionTarget): void {
    if (this.#defaults.requireIdentity) throw new IdentityRequiredError('`requireIdentity` is set');
    if ('connect' in target) {
      throw new IdentityRequiredError('a custom `connect` hides what it sends');
    }
    if (!('url' in target)) return;
    if (target.authProvider !== undefined) {
      throw new IdentityRequiredError('an `authProvider` hides its tokens');
    }
    if (typeof target.headers === 'function') {
      throw new IdentityRequiredError('a headers function hides what it returns');
    }
  }

  #describe(target: SessionTarget): Description {
    if ('url' in target) return this.#describeHttp(target);
    if ('command' in target) return this.#describeStdio(target);
    return describeCustom(target);
  }

  #describeHttp(target: HttpTarget): Description {
    const url = new URL(target.url);
    const headers = typeof target.headers === 'object' ? target.headers : {};
    const named = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]);
    const keepsStream = target.notifications === true && target.affinity === undefined;
    return {
      address: this.#httpAddress(url),
      variant: [target.transport ?? 'streamable-http', keepsStream ? 'notifications' : ''],
      server: url.origin,
      secrets: [named.sort(([a = ''], [b = '']) => (a < b ? -1 : 1)), hiddenPartsOf(url)],
    };
  }

  #describeStdio(target: StdioTarget): Description {
    const rest = [target.args ?? [], target.cwd ?? null, target.env ?? {}];
    // A process keeps the arguments and the environment that it was started with, so they tell
    // processes apart even where an identity is given.
    return {
      address: ['stdio', target.command, this.#digest(rest, 32)],
      variant: [],
      server: target.command,
      secrets: rest,
    };
  }

  /** User info and query may carry credentials: they tell addresses apart, but as a digest. */
  #httpAddress(url: URL): readonly string[] {
    const hidden = hiddenPartsOf(url);
    const isPlain = hidden.every((part) => part === '');
    return ['http', `${url.origin}${url.pathname}`, isPlain ? '' : this.#digest(hidden, 32)];
  }

  #digest(value: unknown, bytes: number): string {
    const text = typeof value === 'string' ? value : canonicalJson(value);
    const digest = createHmac('sha256', this.#secret).update(text).digest();
    return digest.subarray(0, bytes).toString('base64url');
  }
}

const hiddenPartsOf = (url: URL): readonly string[] => [url.username, url.password, url.search];

const describeCustom = (target: CustomTarget): Description => ({
  address: ['custom', target.server],
  variant: [],
  server: target.server,
  secrets: [],
});

const urlText = (url: string | URL): string => (typeof url === 'string' ? url : url.href);

function look(target: HttpTarget, key: TargetKey): Seen {
  const { identity, affinity, leasesPerSession, notifications, transport, headers } = target;
  const isListed = identity === undefined && typeof headers === 'object';
  return {
    url: urlText(target.url),
    identity,
    affinity,
    leasesPerSession,
    notifications,
    transport,
    authProvider: target.authProvider,
    headers,
    headerList: isListed ? Object.entries(headers).flat() : undefined,
    key,
  };
}

/** Whether the target still is what it was when its key was made. Callers may change objects. */
function isUnchanged(target: SessionTarget, seen: Seen): boolean {
  const now = target as HttpTarget;
  return (
    urlText(now.url) === seen.url &&
    now.identity === seen.identity &&
    now.affinity === seen.affinity &&
    now.leasesPerSession === seen.leasesPerSession &&
    now.notifications === seen.notifications &&
    now.transport === seen.transport &&
    now.authProvider === seen.authProvider &&
    now.headers === seen.headers &&
    now.clientInfo === undefined &&
    now.capabilities === undefined &&
    (seen.headerList === undefined || hasHeaders(now.headers as object, seen.headerList))
  );
}

function hasHeaders(headers: object, list: readonly string[]): boolean {
  let at = 0;
  for (const [name, value] of Object.entries(headers)) {
    if (list[at] !== name || list[at + 1] !== value) return false;
    at += 2;
  }
  return at === list.length;
}
