// What a number given as an option may be, and the error when it is not.

import { MAX_TIMER_MS } from './clock.ts';

export interface NumberRule {
  readonly default: number;
  readonly min: number;
  readonly max: number;
  readonly isWhole: boolean;
}

export const count = (byDefault: number, min = 1): NumberRule => ({
  default: byDefault,
  min,
  max: Number.MAX_SAFE_INTEGER,
  isWhole: true,
});
/** A wait that has to end: what a timer can hold. */
export const wait = (byDefault: number): NumberRule => ({
  default: byDefault,
  min: 1,
  max: MAX_TIMER_MS,
  isWhole: false,
});
/** An age that is looked at, and that `Infinity` switches off. */
export const age = (byDefault: number, min = 1): NumberRule => ({
  default: byDefault,
  min,
  max: Number.POSITIVE_INFINITY,
  isWhole: false,
});

/** @throws TypeError or RangeError naming `name`, what was expected and what was got. */
export function checkNumber(name: string, value: unknown, rule: NumberRule): void {
  const kind = rule.isWhole ? 'an integer' : 'a number';
  const bound = rule.max === MAX_TIMER_MS ? ` and ≤ ${MAX_TIMER_MS}` : '';
  const message = `Expected \`${name}\` to be ${kind} ≥ ${rule.min}${bound}, got ${show(value)}`;
  if (typeof value !== 'number' || Number.isNaN(value)) throw new TypeError(message);
  const isWhole = !rule.isWhole || Number.isSafeInteger(value);
  if (!isWhole || value < rule.min || value > rule.max) throw new RangeError(message);
}

/** A value of an option, for a message. */
export const show = (value: unknown): string =>
  typeof value === 'object' && value !== null
    ? 'an object'
    : `\`${String(value)}\` (${typeof value})`;
