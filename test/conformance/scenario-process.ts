// The process that the suite starts for one scenario: reads what the suite says in its arguments and
// environment. It exits by itself, or the suite counts it as hung: nothing of a pool may keep it.

import { type Lender, playScenario, type ScenarioContext } from './scenarios.ts';

/** What the suite said. */
export interface ScenarioOrder {
  readonly url: string;
  readonly context: ScenarioContext;
  /** The protocol revision that the server will speak. */
  readonly revision: string;
}

/** Plays the scenario that this process was started for, then `close`s. */
export async function runScenarioProcess(
  makeLender: (order: ScenarioOrder) => Lender & { close(): Promise<{ abandoned: number }> },
): Promise<void> {
  const { MCP_CONFORMANCE_SCENARIO: name, MCP_CONFORMANCE_CONTEXT: context } = process.env;
  const url = process.argv[2];
  if (name === undefined || url === undefined) throw new Error('Started by the suite only');
  const lender = makeLender({
    url,
    context: context === undefined ? {} : (JSON.parse(context) as ScenarioContext),
    revision: process.env['MCP_CONFORMANCE_PROTOCOL_VERSION'] ?? '',
  });
  try {
    await playScenario(name, lender);
  } finally {
    const { abandoned } = await lender.close();
    if (abandoned > 0) throw new Error(`${abandoned} sessions were abandoned`);
  }
}
