// What the conformance suite's scenarios ask of a client, told once for both SDK lines. A `Lender`
// is all that differs: which pool lends the clients, and how its SDK ends a sign-in. Knows no SDK.

import { SignInProvider } from './sign-in-provider.ts';

/** A tool as a server lists it. */
interface ListedTool {
  readonly name: string;
  readonly inputSchema: {
    readonly properties?: Readonly<Record<string, unknown>> | undefined;
    readonly required?: readonly string[] | undefined;
  };
}

/** A call as the suite describes it. */
interface ToolCall {
  readonly name: string;
  readonly arguments?: Record<string, unknown>;
}

/** What scenarios use of a lease's client, whichever SDK it is of. */
export interface ScenarioClient {
  getServerCapabilities(): { readonly [name: string]: unknown } | undefined;
  listTools(): Promise<{ readonly tools: readonly ListedTool[] }>;
  callTool(call: ToolCall): Promise<unknown>;
  listResources(): Promise<{ readonly resources: readonly { readonly uri: string }[] }>;
  readResource(params: { uri: string }): Promise<unknown>;
  listPrompts(): Promise<{ readonly prompts: readonly { readonly name: string }[] }>;
  getPrompt(params: { name: string }): Promise<unknown>;
}

/** What the suite tells a scenario about: credentials, calls to make. */
export interface ScenarioContext {
  readonly client_id?: string;
  readonly client_secret?: string;
  readonly private_key_pem?: string;
  readonly signing_algorithm?: string;
  readonly toolCalls?: readonly ToolCall[];
}

/** Lends clients of one SDK line out of a pool, for one server. */
export interface Lender {
  readonly context: ScenarioContext;
  /** Runs `work` with a lease, as the one whom `provider` speaks for. */
  use(work: (client: ScenarioClient) => Promise<void>, provider?: object): Promise<void>;
  /** The second half of a sign-in: `callback` is what came back with the user. */
  finishSignIn(provider: SignInProvider, callback: URLSearchParams): Promise<void>;
  /** A provider of the SDK's that needs no user. */
  clientCredentials(context: ScenarioContext): object;
  privateKeyJwt(context: ScenarioContext): object;
}

type Play = (lender: Lender) => Promise<void>;

/** How often a user is sent to sign in for one piece of work. The suite allows three. */
const MAX_SIGN_INS = 3;
const ECHO_TOOL = 'json_schema_echo';

const PLAYS: Readonly<Record<string, Play>> = {
  initialize: (lender) => lender.use(visit),
  tools_call: (lender) => lender.use(visit),
  'elicitation-sep1034-client-defaults': (lender) => lender.use(visit),
  'sse-retry': (lender) => lender.use(visit),
  'request-metadata': (lender) => lender.use(visit),
  'sep-2322-client-request-state': (lender) => lender.use(visitBadAnswers),
  'http-standard-headers': (lender) => lender.use(visit),
  'http-custom-headers': (lender) => lender.use((client) => callAll(client, lender.context)),
  'http-invalid-tool-headers': (lender) => lender.use(visit),
  // Its server has a tool that can't be called.
  'json-schema-ref-no-deref': (lender) =>
    lender.use(async (client) => void (await client.listTools())),
  'json-schema-2020-12-preservation': (lender) => lender.use(echoSchema),
  'auth/client-credentials-basic': (lender) =>
    lender.use(visit, lender.clientCredentials(lender.context)),
  'auth/client-credentials-jwt': (lender) =>
    lender.use(visit, lender.privateKeyJwt(lender.context)),
};

/** Extensions that no provider of the SDKs covers, or only one of SDK 2. Nobody scores them. */
export const NOT_PLAYED: readonly string[] = [
  'auth/dpop',
  'auth/dpop-nonce',
  'auth/enterprise-managed-authorization',
  'auth/wif-jwt-bearer',
];

/** Plays one scenario. Rejects when it is unknown, and with whatever the scenario fails with. */
export async function playScenario(name: string, lender: Lender): Promise<void> {
  const play = PLAYS[name] ?? (name.startsWith('auth/') ? visitSignedIn : undefined);
  if (play === undefined || NOT_PLAYED.includes(name)) throw new Error(`Can't play ${name}`);
  await play(lender);
}

/** Uses everything that the server says it has, one after the other. */
async function visit(client: ScenarioClient): Promise<void> {
  const { prompts, resources } = client.getServerCapabilities() ?? {};
  await callEach(client);
  if (resources !== undefined) {
    const listed = await client.listResources();
    for (const { uri } of listed.resources) await client.readResource({ uri });
  }
  if (prompts !== undefined) {
    const listed = await client.listPrompts();
    for (const { name } of listed.prompts) await client.getPrompt({ name });
  }
}

async function callEach(client: ScenarioClient): Promise<void> {
  const { tools } = await client.listTools();
  for (const tool of tools) {
    await client.callTool({ name: tool.name, arguments: exampleArguments(tool) });
  }
}

/** Its last tool answers without a `resultType`, which the SDK does not take from such a server. */
async function visitBadAnswers(client: ScenarioClient): Promise<void> {
  await callEach(client).catch((error: { readonly code?: unknown }) => {
    if (error.code !== 'INVALID_RESULT') throw error;
  });
}

/** A value for every argument that the tool requires. */
function exampleArguments({ inputSchema }: ListedTool): Record<string, unknown> {
  const { properties = {}, required = [] } = inputSchema;
  const exampleOf = (name: string): unknown => {
    const { type } = (properties[name] ?? {}) as { readonly type?: string };
    if (type === 'number' || type === 'integer') return 7;
    if (type === 'boolean') return true;
    return type === 'object' ? {} : 'seven';
  };
  return Object.fromEntries(required.map((name) => [name, exampleOf(name)]));
}

async function callAll(client: ScenarioClient, { toolCalls = [] }: ScenarioContext): Promise<void> {
  await client.listTools();
  for (const call of toolCalls) await client.callTool(call);
}

/** Sends the schema of every other tool back, as it came. */
async function echoSchema(client: ScenarioClient): Promise<void> {
  const { tools } = await client.listTools();
  for (const { name, inputSchema } of tools) {
    if (name === ECHO_TOOL) continue;
    await client.callTool({ name: ECHO_TOOL, arguments: { schema: inputSchema } });
  }
}

/**
 * A visit whose user signs in whenever the server asks for it, as the user of a gateway would: the
 * work fails, the sign-in is completed beside the pool, and the work is begun again.
 */
async function visitSignedIn(lender: Lender): Promise<void> {
  const { client_id, client_secret } = lender.context;
  const provider = new SignInProvider(
    client_id === undefined ? undefined : { client_id, ...(client_secret && { client_secret }) },
  );
  for (let signIns = 1; ; signIns += 1) {
    try {
      await lender.use(visit, provider);
      return;
    } catch (error) {
      const callback = provider.takeCallback();
      if (callback === undefined || signIns === MAX_SIGN_INS) throw error;
      await lender.finishSignIn(provider, callback);
    }
  }
}
