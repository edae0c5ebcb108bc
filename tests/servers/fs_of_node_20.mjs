// The conformance suite imports `globSync` from `fs`, which node has from version 22 on, and never calls it when it
// tests servers. For older ones, this gives it one that says so.
import * as fs from "node:fs";
import { register } from "node:module";

const source = (text) => "data:text/javascript," + encodeURIComponent(text);
const shim = source(`
  export * from "node:fs";
  export { default } from "node:fs";
  export const globSync = () => { throw new Error("globSync needs node 22"); };
`);
const hooks = source(`
  export async function resolve(specifier, context, next) {
    const asked = specifier === "fs" && context.parentURL?.includes("/@modelcontextprotocol/conformance/");
    return asked ? { url: ${JSON.stringify(shim)}, shortCircuit: true } : next(specifier, context);
  }
`);
if (!("globSync" in fs)) register(hooks);
