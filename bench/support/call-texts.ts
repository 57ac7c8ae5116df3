// What the tools of `plain-server` answer, so that a caller can tell a wrong answer from a right
// one: the number that the call gave, and a text of a known length.

export type Tool = 'small' | 'large';

const LINE = 'The quick brown fox said \\"yes\\" to the lazy dog, and not for the first time.\\n';

/** The part of the text that is the same in every answer, as it stands in JSON. */
export const TAILS: Readonly<Record<Tool, string>> = {
  small: 'sunny in Berlin, 21 degrees, light wind',
  large: LINE.repeat(Math.round((1024 * 1024) / LINE.length)),
};

const LENGTHS: Readonly<Record<Tool, number>> = {
  small: (JSON.parse(`"${TAILS.small}"`) as string).length,
  large: (JSON.parse(`"${TAILS.large}"`) as string).length,
};

/** Throws when `result` is not what `tool` answers to a call with `n`. */
export function checkResult(result: unknown, tool: Tool, n: number): void {
  const { content } = result as { content?: readonly { type?: string; text?: string }[] };
  const text = content?.[0]?.text;
  const start = `${n}: `;
  if (text?.startsWith(start) && text.length === start.length + LENGTHS[tool]) return;
  throw new Error(`Wrong answer to call ${n}: ${JSON.stringify(result).slice(0, 200)}`);
}
