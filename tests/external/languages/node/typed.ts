// Is compiled, and not run: what the types of the client allow, and what they refuse.
import { GetLock, Guard, Lease, Leases, LockEvent, Lost, NotGranted, Refused } from "getlock";

const locks = new GetLock({ host: "127.0.0.1", port: 3305, tls: { ca: "..." }, retry: 5, stopWithin: 2 });
export const named = new GetLock({ name: "web-1", note: "backup" });
const leases = new Leases({ url: "https://127.0.0.1:3308", token: "...", tls: true, retry: 5, name: "", note: null });

export async function nightly(signal: AbortSignal): Promise<number> {
  const tried: Guard | null = await locks.tryLock("nightly", { shared: true, signal });
  if (tried?.held()) await tried.release();

  await using guard = await locks.acquire("nightly", { timeout: 10, signal });
  const session: number = guard.session;
  guard.lost.addEventListener("abort", () => console.error(guard.why?.symbol));

  const length: number = await locks.lock("weekly", { timeout: Infinity }, async (held) => held.name.length);
  const token: string = await leases.lock("monthly", async (lease: Lease) => lease.leaseToken);
  await using lease = await leases.acquire("yearly", { ttl: 60, client: "web-1", note: "backup", timeout: null });
  return session + length + token.length + lease.fencingToken;
}

export async function kinds(signal: AbortSignal): Promise<never> {
  const tell = (event: LockEvent): void => console.log(event.kind, event.waiters, event.fields["limit"]);
  await using both = await locks.acquire(["a", "b"], { onWaiter: tell });
  await using lease = await leases.acquire(["a", "b"] as const, { ttl: 60 });
  const permit: Guard | null = await locks.tryLock("gpu", { limit: 3 });
  for await (const event of await locks.watch("app/", { signal })) tell(event);
  console.log(both.names, lease.name, permit);
  if (signal.aborted) await locks.lead("scheduler", async (guard) => console.log(guard.fencingToken));
  return locks.lead("scheduler", { signal }, (guard) => guard.names.join());
}

export function told(error: unknown): string | null {
  if (error instanceof NotGranted) return error.inTheWay + error.code;
  if (error instanceof Lost || error instanceof Refused) return error.symbol;
  return null;
}

export function refused(): void {
  // @ts-expect-error the options are an object
  new GetLock("127.0.0.1");
  // @ts-expect-error a timeout is a number
  void locks.acquire("nightly", { timeout: "10" });
  // @ts-expect-error a note is a string
  new GetLock({ note: 7 });
  // @ts-expect-error the name comes first
  void locks.acquire(10, "nightly");
  // @ts-expect-error tryLock does not wait
  void locks.tryLock("nightly", { timeout: 10 });
  // @ts-expect-error without a body there is nothing to do
  void locks.lock("nightly", { timeout: 10 });
  // @ts-expect-error a limit is a number
  void locks.acquire("gpu", { limit: "3" });
  // @ts-expect-error a lease tells nothing of waiters
  void leases.acquire("nightly", { onWaiter: console.log });
  // @ts-expect-error null is no guard
  void locks.tryLock("nightly").then((guard) => guard.release());
}
