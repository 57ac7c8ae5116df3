// The SDK's declarations name the DOM type `HeadersInit`, which @types/node does not declare. Only
// for our own type check: declaration files in src are not shipped.
type HeadersInit = NonNullable<RequestInit['headers']>;
