// Sizes of a bench, from the command line: `--rounds=3 --sessions=1000`. Every bench has defaults
// that give figures worth quoting; `smoke.ts` passes tiny ones.

import { parseArgs } from 'node:util';

/**
 * `defaults` with what the command line says in their place. An unknown name or a bad value throws.
 */
export function parameters<T extends Record<string, number>>(defaults: T): T {
  const { values } = parseArgs({
    options: Object.fromEntries(
      Object.keys(defaults).map((name) => [name, { type: 'string' as const }]),
    ),
  });
  const result: Record<string, number> = { ...defaults };
  for (const [name, text] of Object.entries(values)) {
    const value = Number(text);
    if (!Number.isFinite(value) || value <= 0) {
      throw new RangeError(`Expected --${name} to be a number above 0, got ${String(text)}`);
    }
    result[name] = value;
  }
  return result as T;
}
