// Stands in for the SDK's declarations of its Ajv validator, which take Ajv's namespace for its
// class and so fail the check of whoever imports them. `paths` in tsconfig.json leads here. Only
// for our own type check: declaration files in src are not shipped, and none that are name this.

import type {
  JsonSchemaType,
  JsonSchemaValidator,
  jsonSchemaValidator,
} from '@modelcontextprotocol/sdk/validation/types.js';

export declare class AjvJsonSchemaValidator implements jsonSchemaValidator {
  getValidator<T>(schema: JsonSchemaType): JsonSchemaValidator<T>;
}
