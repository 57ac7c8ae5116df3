// Options of a bench that are there or not: `--cpu-prof`.

/**
 * Whether the command line has `--<name>`. Takes it off, because `parameters` knows numbers alone
 * and refuses what it does not know.
 */
export function takeFlag(name: string): boolean {
  const index = process.argv.indexOf(`--${name}`);
  if (index === -1) return false;
  process.argv.splice(index, 1);
  return true;
}
