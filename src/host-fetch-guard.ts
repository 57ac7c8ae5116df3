// First module of the package: keeps the host's own `fetch` on the host's own dispatcher. Importing
// undici installs its dispatcher process-wide when Node has not set one yet, and on Node 20 and 22
// that breaks some of the host's POSTs. Reading `globalThis.Request` makes Node set its own first.
// Must be imported before anything that imports undici; listed in `sideEffects` so bundlers keep
// it.
void globalThis.Request;
