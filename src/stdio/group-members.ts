// Looks into Linux's /proc for live processes of a group. `kill` counts those as well that have
// ended and that nobody has waited for.

import { readdirSync, readFileSync } from 'node:fs';

/** `undefined`: can't be told here. Reads two lines of every process of the machine: not cheap. */
export function hasLiveMember(groupId: number, procPath = '/proc'): boolean | undefined {
  let names: string[];
  try {
    names = readdirSync(procPath).filter((name) => /^\d+$/.test(name));
  } catch {
    return undefined;
  }
  if (names.length === 0) return undefined;
  return names.some((name) => {
    const [state, group] = stateAndGroup(`${procPath}/${name}/stat`);
    return group === String(groupId) && state !== 'Z' && state !== 'X';
  });
}

function stateAndGroup(path: string): readonly (string | undefined)[] {
  try {
    // `pid (name) state parent group …`, and the name may hold anything, parentheses included.
    const text = readFileSync(path, 'latin1');
    const [state, , group] = text.slice(text.lastIndexOf(')') + 2).split(' ', 3);
    return [state, group];
  } catch {
    // It has gone since its name was read.
    return [];
  }
}
