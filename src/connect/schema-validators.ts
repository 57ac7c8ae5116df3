// JSON-schema validators for tool results, compiled on first use and shared by the sessions of one
// key. A default SDK client compiles eagerly with an Ajv of its own, which is most of its cost
// (200-800 µs). Knows schemas, not tools or sessions.

import type {
  JsonSchemaType,
  JsonSchemaValidator,
  JsonSchemaValidatorResult,
  jsonSchemaValidator,
} from '@modelcontextprotocol/sdk/validation';

type Check = (input: unknown) => JsonSchemaValidatorResult<unknown>;

/** Compiled schemas kept per key. Bound: a server can't grow the cache without end. */
const COMPILED_MAX = 256;

/** What one session holds of the validators of its key. */
export interface ValidatorsHold {
  readonly provider: jsonSchemaValidator;
  /** Lets go. With the last holder of a key its validators are dropped. Idempotent. */
  release(): void;
}

/** The validators of all keys. */
export class SchemaValidators {
  /** An entry exists while it has holders. */
  readonly #byKey = new Map<string, { provider: LazyValidators; holders: number }>();
  readonly #newCompiler: () => jsonSchemaValidator;

  constructor(newCompiler: () => jsonSchemaValidator) {
    this.#newCompiler = newCompiler;
  }

  /** Keys that have validators at the moment. */
  get size(): number {
    return this.#byKey.size;
  }

  hold(key: string): ValidatorsHold {
    const entry = this.#byKey.get(key) ?? {
      provider: new LazyValidators(this.#newCompiler),
      holders: 0,
    };
    this.#byKey.set(key, entry);
    entry.holders += 1;
    let isHeld = true;
    return {
      provider: entry.provider,
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        entry.holders -= 1;
        if (entry.holders === 0) this.#byKey.delete(key);
      },
    };
  }
}

/**
 * One key's validators, by schema text: tools with the same output schema share one, and a schema
 * that changed under the same `$id` is another.
 */
export class LazyValidators implements jsonSchemaValidator {
  /** Least recently used first. */
  readonly #compiled = new Map<string, Check>();
  /** Compiles schemas without `$id`. Replaced after `COMPILED_MAX` of them, for it forgets none. */
  #shared: jsonSchemaValidator | undefined;
  #compiledByShared = 0;
  readonly #newCompiler: () => jsonSchemaValidator;

  /** `newCompiler` makes what compiles: the SDK's own, with an Ajv inside. */
  constructor(newCompiler: () => jsonSchemaValidator) {
    this.#newCompiler = newCompiler;
  }

  /** Compiled schemas that are kept. */
  get size(): number {
    return this.#compiled.size;
  }

  getValidator<T>(schema: JsonSchemaType): JsonSchemaValidator<T> {
    // Taken now: the schema is the caller's object, who may change it before the first use.
    const text = JSON.stringify(schema);
    return (input) => this.#checkFor(text)(input) as JsonSchemaValidatorResult<T>;
  }

  #checkFor(text: string): Check {
    const check = this.#compiled.get(text) ?? this.#compile(text);
    // Deleted first, so that it becomes the youngest.
    this.#compiled.delete(text);
    this.#compiled.set(text, check);
    const [oldest] = this.#compiled.keys();
    if (this.#compiled.size > COMPILED_MAX && oldest !== undefined) this.#compiled.delete(oldest);
    return check;
  }

  #compile(text: string): Check {
    const schema = JSON.parse(text) as JsonSchemaType;
    // An Ajv takes a schema it once saw under an `$id` for every later one of that `$id`, also for
    // subschemas. So each text that names one gets an Ajv of its own.
    if (text.includes('"$id"')) return this.#newCompiler().getValidator(schema);
    if (this.#shared === undefined || this.#compiledByShared >= COMPILED_MAX) {
      this.#shared = this.#newCompiler();
      this.#compiledByShared = 0;
    }
    this.#compiledByShared += 1;
    return this.#shared.getValidator(schema);
  }
}
