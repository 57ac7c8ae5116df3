// The public members of an SDK client's class and of what it extends.

/** Their names, sorted. What begins with an underscore is the SDK's own. */
export function methodsOf(Client: { readonly prototype: object }): string[] {
  const names = new Set<string>();
  for (
    let each = Client.prototype;
    each !== Object.prototype;
    each = Object.getPrototypeOf(each) as object
  ) {
    for (const name of Object.getOwnPropertyNames(each)) names.add(name);
  }
  return [...names].filter((name) => name !== 'constructor' && !name.startsWith('_')).toSorted();
}
