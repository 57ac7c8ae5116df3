// Steps through a chain of promises, for what happens in the middle of it.

/** Lets `count` microtasks run: for what happens in the middle of a chain of promises. */
export async function runMicrotasks(count: number): Promise<void> {
  for (let done = 0; done < count; done += 1) await null;
}
