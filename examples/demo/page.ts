// What the demo prints, and what it concludes: a line per promise, and whether all of them held.

const isTerminal = process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined;

/** Prints a heading. */
export function heading(text: string): void {
  console.log(`\n${paint('1', text)}`);
}

/** Prints a line of an act. */
export function say(text: string): void {
  console.log(`  ${text}`);
}

/** Collects one line for each promise, to be printed at the end. */
export class Verdict {
  readonly #lines: { readonly held: boolean; readonly promise: string; readonly found: string }[] =
    [];

  /** Notes whether a promise held, and by which figures. */
  note(promise: string, held: boolean, found: string): void {
    this.#lines.push({ held, promise, found });
  }

  get allHeld(): boolean {
    return this.#lines.every(({ held }) => held);
  }

  print(): void {
    heading('Verdict');
    const width = Math.max(...this.#lines.map(({ promise }) => promise.length));
    for (const { held, promise, found } of this.#lines) {
      const mark = held ? paint('32', 'held  ') : paint('31', 'BROKEN');
      say(`${mark}  ${promise.padEnd(width)}  ${found}`);
    }
  }
}

/** A duration, readable at any size. */
export function ms(durationMs: number): string {
  if (durationMs < 10) return `${durationMs.toFixed(2)} ms`;
  return durationMs < 1_000
    ? `${durationMs.toFixed(0)} ms`
    : `${(durationMs / 1_000).toFixed(2)} s`;
}

/** The middle value. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

export function sleep(durationMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, durationMs);
  });
}

function paint(code: string, text: string): string {
  return isTerminal ? `\u001b[${code}m${text}\u001b[0m` : text;
}
