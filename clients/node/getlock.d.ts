// Types of getlock.cjs. Beside a copy of that file, call this one getlock.d.cts.
// All times are in seconds: 0.5 is half a second.

import type { ConnectionOptions } from "node:tls";

/** The server refused. `symbol` is for programs, such as "BAD_NAME"; the message is for people. */
export class Refused extends Error {
  constructor(symbol: string | null, text: string);
  readonly symbol: string | null;
}

/** The lock is gone. `symbol` is the server's reason; null if the connection broke or time ran out. */
export class Lost extends Refused {}

/** Others held the lock until the timeout was over. */
export class NotGranted extends Error {
  constructor(name: string | readonly string[], timeout: number, inTheWay?: string);
  readonly code: "ETIMEDOUT";
  /** The name of the lock. Of several locks it is the first that could not be had. */
  readonly inTheWay: string;
}

interface Login {
  user?: string | null;
  password?: string | null;
  /** True, or options of `tls.connect`, such as `{ ca }`. */
  tls?: true | ConnectionOptions | null;
  /** Seconds that work needs to stop when its lock is lost. */
  stopWithin?: number | null;
  /** Seconds for which a server that is away is tried. 30 by default. */
  retry?: number | null;
  /**
   * What the lists of the server call this client, in at most 256 characters. `user@host[pid] program` by default; with
   * "" the client does not introduce itself.
   */
  name?: string | null;
  /** A line for people, which the lists show beside the name, of at most 256 characters. None by default. */
  note?: string | null;
}

export interface ServerOptions extends Login {
  /** 127.0.0.1 by default. Of a cluster several, as "a:3305,b:3305" or an array. */
  host?: string | readonly string[] | null;
  /** 3305 by default. It is that of each host without one. */
  port?: number | null;
}

export interface LeasesOptions extends Login {
  /** http://127.0.0.1:3308 by default. Of a cluster several, with commas between them or an array. */
  url?: string | readonly string[] | null;
  /** In place of user and password. */
  token?: string | null;
}

export interface TryOptions {
  /** Beside others that share the lock. */
  shared?: boolean | null;
  /** A permit: at most so many sessions hold the lock together. From 1 to 65535, and the same for all of them. */
  limit?: number | null;
  /**
   * Ends the wait: the place in the queue is left at once, and the call rejects with the signal's reason. While the
   * body of `lock` runs, the lock is freed when the body ends: give the signal to the body's work too.
   */
  signal?: AbortSignal | null;
}

export interface AcquireOptions extends TryOptions {
  /** Seconds. None, a negative number and Infinity wait forever; 0 tries. */
  timeout?: number | null;
}

interface BeingTold {
  /** Is called when another session begins to wait for what the guard holds. It does not hold up the client. */
  onWaiter?: ((event: LockEvent) => void) | null;
}

export interface TryGuardOptions extends TryOptions, BeingTold {}

export interface GuardOptions extends AcquireOptions, BeingTold {}

export interface SignalOptions {
  /** Ends the wait, or the watch: the call rejects with the signal's reason. */
  signal?: AbortSignal | null;
}

/** What happened to a lock. What an event does not have is null. */
export interface LockEvent {
  /**
   * `waiting`: a session waits for what the guard holds. `taken`: a session got the lock. `freed`: its holder released
   * it. `lost`: it ended otherwise. `missed`: events were lost, since they were not read fast enough.
   */
  readonly kind: "waiting" | "taken" | "freed" | "lost" | "missed";
  readonly name: string | null;
  readonly session: number | null;
  readonly mode: "exclusive" | "shared" | "permit" | null;
  readonly fencingToken: number | null;
  /** For how many seconds it was held. */
  readonly held: number | null;
  /** How it ended, such as `release` or `killed`. */
  readonly cause: string | null;
  /** How many sessions wait. */
  readonly waiters: number | null;
  /** How many events were missed. Null if nobody knows, as after a connection that broke. */
  readonly count: number | null;
  /** All that the server said, as strings. */
  readonly fields: Readonly<Record<string, string>>;
}

/** What happens to the locks whose names begin with a prefix: `for await (const event of watch)`. */
export class Watch implements AsyncIterableIterator<LockEvent> {
  private constructor();
  next(): Promise<IteratorResult<LockEvent, undefined>>;
  return(): Promise<IteratorResult<LockEvent, undefined>>;
  [Symbol.asyncIterator](): this;
  /** Ends the loop. */
  close(): void;
}

interface LeaseFacts {
  /** Seconds for which the lease runs from each heartbeat on. 45 by default. */
  ttl?: number | null;
  /** In place of the `name` of the Leases. */
  client?: string | null;
  /** In place of the `note` of the Leases. */
  note?: string | null;
}

export interface TryLeaseOptions extends TryOptions, LeaseFacts {}

export interface LeaseOptions extends AcquireOptions, LeaseFacts {}

/** A lock that is held, or several. */
declare abstract class Held {
  /** The first of the names. */
  readonly name: string;
  readonly names: readonly string[];
  /** Greater than that of any grant before. Send it along with what you write. */
  readonly fencingToken: number;
  /** Fires as soon as the lock is lost. Its reason is the `Lost`. Asked for afresh it looks at the clock itself. */
  get lost(): AbortSignal;
  /** The `Lost`, or null while the lock is not lost. */
  get why(): Lost | null;
  /** Whether the lock is held now. */
  held(): boolean;
  /** Frees the lock. Resolves to true if the lock was held until now, to false if it had been lost. */
  release(): Promise<boolean>;
  /** For `await using`: frees the lock, and rejects with `Lost` if it had been lost. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** A lock that a connection holds. */
export class Guard extends Held {
  private constructor();
  /** The server's number of the connection. */
  readonly session: number;
}

/** A lock that heartbeats hold. */
export class Lease extends Held {
  private constructor();
  readonly leaseToken: string;
}

/** Of one lock, or of several that are taken all or none, in one wait that holds nothing: 1 to 64 names. */
export type Names = string | readonly string[];

declare abstract class Locks<Kind, Try, Take> {
  /** Rejects with NotGranted if others hold the lock until `timeout` is over. */
  acquire(name: Names, options?: Take): Promise<Kind>;
  /** Does not wait. Resolves to null if others hold the lock. */
  tryLock(name: Names, options?: Try): Promise<Kind | null>;
  /**
   * Runs `body` while the lock is held, and resolves to its result. When the lock is lost it waits for the end of the
   * body, and rejects with `Lost`. An error of the body itself comes first, with `Lost` as its cause.
   */
  lock<Result>(name: Names, options: Take, body: (guard: Kind) => Result | PromiseLike<Result>): Promise<Result>;
  lock<Result>(name: Names, body: (guard: Kind) => Result | PromiseLike<Result>): Promise<Result>;
}

/** A server, by its line protocol. Each guard has a connection of its own. */
export class GetLock extends Locks<Guard, TryGuardOptions, GuardOptions> {
  constructor(options?: ServerOptions);
  /**
   * Leader election: runs `body` while this process holds the lock, and again when it holds it again. `guard.lost`
   * tells the body that leadership is lost. A body that ends by itself releases the lock. In both cases this process is
   * then a candidate again, behind the others, and its next term has a new fencing token. The election ends with an
   * error of the body, unless that is the `Lost` or an AbortError of it, and with `signal`. A server that cannot be
   * reached ends it within `retry` of the first try. Once the server has answered it is tried forever.
   */
  lead(name: string, body: (guard: Guard) => unknown): Promise<never>;
  lead(name: string, options: SignalOptions, body: (guard: Guard) => unknown): Promise<never>;
  /** What happens to the locks whose names begin with `prefix`, from the moment on in which it resolves. */
  watch(prefix?: string, options?: SignalOptions): Promise<Watch>;
}

/** A server, over HTTP. */
export class Leases extends Locks<Lease, TryLeaseOptions, LeaseOptions> {
  constructor(options?: LeasesOptions);
}

export {};
