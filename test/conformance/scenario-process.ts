// The process that the suite starts for one scenario: reads what the suite says in its arguments and
// environment. It exits by itself, or the suite counts it as hung: nothing of a pool may keep it.

import { type Lender, playScenario, type ScenarioContext } from './scenarios.ts';

/** What the suite said. */
export interface ScenarioOrder {
  readonly url: string;
  readonly context: ScenarioContext;
}

/** How a pool is closed, whichever clients it lends. */
interface ClosingPool {
  close(): Promise<{ readonly abandoned: number }>;
}

/** Plays the scenario that this process was started for, and closes the pool. */
export async function runScenarioProcess(
  makeLender: (order: ScenarioOrder) => Lender & { readonly pool: ClosingPool },
): Promise<void> {
  const { MCP_CONFORMANCE_SCENARIO: name, MCP_CONFORMANCE_CONTEXT: context } = process.env;
  const url = process.argv[2];
  if (name === undefined || url === undefined) throw new Error('Started by the suite only');
  const lender = makeLender({
    url,
    context: context === undefined ? {} : (JSON.parse(context) as ScenarioContext),
  });
  const [played, closed] = [
    await Promise.allSettled([playScenario(name, lender)]),
    await lender.pool.close(),
  ];
  for (const outcome of played) if (outcome.status === 'rejected') throw outcome.reason;
  if (closed.abandoned > 0) throw new Error(`${closed.abandoned} sessions were abandoned`);
}
