// Takes, renews and releases a lease by the types that openapi-typescript has made. `openapi.js PORT`.
import type { components, paths } from "./generated";

declare const process: { argv: string[] };

type Schemas = components["schemas"];
type Body<P extends keyof paths> = paths[P]["post"] extends {
  requestBody: { content: { "application/json": infer B } };
}
  ? B
  : never;
type Answer<P extends keyof paths> = paths[P]["post"] extends { responses: infer R }
  ? { [C in keyof R]: R[C] extends { content: { "application/json": infer A } } ? A : never }[keyof R]
  : never;

const server = `http://127.0.0.1:${process.argv[2]}`;

async function post<P extends keyof paths & string>(path: P, body: Body<P>): Promise<Answer<P>> {
  const headers = { "Content-Type": "application/json" };
  const reply = await fetch(server + path, { method: "POST", headers, body: JSON.stringify(body) });
  return (await reply.json()) as Answer<P>;
}

function assert(ok: boolean, told: string): asserts ok {
  if (!ok) throw new Error(told);
}

const wish: Schemas["Acquire"] = { resourceName: "nightly", mode: "exclusive", note: "backup" };
const taken = await post("/api/lock/acquire", wish);
assert(taken.status === "Acquired", taken.status);
const fencingToken: number = taken.fencingToken;

const busy = await post("/api/lock/acquire", { ...wish, waitMs: 20 });
assert(busy.status === "Busy" && !busy.success, busy.status);

const mine = { resourceName: "nightly", lockToken: taken.lockToken };
const renewed = await post("/api/lock/heartbeat", { ...mine, ttlMs: 60_000 });
assert(renewed.status === "HeartbeatReceived" && renewed.fencingToken === fencingToken, renewed.status);

const status: Schemas["Status"] = await (await fetch(`${server}/api/lock/status/nightly`)).json();
assert(status.isLocked && status.note === "backup", JSON.stringify(status));

const released = await post("/api/lock/release", mine);
assert(released.status === "Released", released.status);
const again = await post("/api/lock/release", mine);
assert(again.status === "NotFound", again.status);
