// What tests/external/languages.rs tells the client of Node to do.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { GetLock, Lost, NotGranted, Refused } from "getlock";

const { GETLOCK_USER: user, GETLOCK_PASSWORD: password, GETLOCK_CA: ca } = process.env;
const tls = ca ? { ca: readFileSync(ca) } : null;
const locks = new GetLock({ host: process.env.GETLOCK_HOST, port: Number(process.argv[2]), user, password, tls });

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function command() {
  const { value, done } = await lines.next();
  if (done) process.exit();
  const [, verb, timeout, name] = /^(\S+) ?(\S*) ?(.*)$/.exec(value);
  return { verb, timeout: Number(timeout), name: name.replaceAll("␤", "\n") };
}

async function hold(guard) {
  console.log(`granted ${guard.fencingToken}`);
  const { verb } = await command();
  if (verb === "release") console.log((await guard.release()) ? "released" : "not released");
  if (verb === "watch" && !guard.lost.aborted) {
    await new Promise((resolve) => guard.lost.addEventListener("abort", resolve));
  }
  return verb;
}

for (;;) {
  const { verb, timeout, name } = await command();
  try {
    const done = await locks.lock(name, { timeout, shared: verb === "shared" }, hold);
    if (done === "leave") console.log("left");
  } catch (error) {
    if (error instanceof NotGranted) console.log("none");
    else if (error instanceof Lost) console.log(error.symbol ? `lost ${error.symbol}` : "lost");
    else if (error instanceof Refused) console.log(`refused ${error.symbol}`);
    else console.log("away");
  }
}
