// How a tool is called in `calls`: each of these in every way of `callers.ts`.

import type { Tool } from './call-texts.ts';

export type Answers = 'json' | 'sse';

export interface Scenario {
  /** What the server answers calls with. */
  readonly answers: Answers;
  readonly inFlight: number;
  readonly tool: Tool;
}

export const SCENARIOS: readonly Scenario[] = (['small', 'large'] as const).flatMap((tool) =>
  [1, 32].flatMap((inFlight) =>
    (['json', 'sse'] as const).map((answers) => ({ answers, inFlight, tool })),
  ),
);

export function nameOf({ answers, inFlight, tool }: Scenario): string {
  const size = tool === 'small' ? '100 B' : '1 MiB';
  return `${answers.toUpperCase()}, results of ${size}, ${inFlight} in flight`;
}
