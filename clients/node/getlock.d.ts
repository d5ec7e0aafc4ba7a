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
  constructor(name: string, timeout: number);
  readonly code: "ETIMEDOUT";
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
  /** 127.0.0.1 by default. */
  host?: string | null;
  /** 3305 by default. */
  port?: number | null;
}

export interface LeasesOptions extends Login {
  /** http://127.0.0.1:3308 by default. */
  url?: string | null;
  /** In place of user and password. */
  token?: string | null;
}

export interface TryOptions {
  /** Beside others that share the lock. */
  shared?: boolean | null;
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

/** A lock that is held. */
declare abstract class Held {
  readonly name: string;
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

declare abstract class Locks<Kind, Try, Take> {
  /** Rejects with NotGranted if others hold the lock until `timeout` is over. */
  acquire(name: string, options?: Take): Promise<Kind>;
  /** Does not wait. Resolves to null if others hold the lock. */
  tryLock(name: string, options?: Try): Promise<Kind | null>;
  /**
   * Runs `body` while the lock is held, and resolves to its result. When the lock is lost it waits for the end of the
   * body, and rejects with `Lost`. An error of the body itself comes first, with `Lost` as its cause.
   */
  lock<Result>(name: string, options: Take, body: (guard: Kind) => Result | PromiseLike<Result>): Promise<Result>;
  lock<Result>(name: string, body: (guard: Kind) => Result | PromiseLike<Result>): Promise<Result>;
}

/** A server, by its line protocol. Each guard has a connection of its own. */
export class GetLock extends Locks<Guard, TryOptions, AcquireOptions> {
  constructor(options?: ServerOptions);
}

/** A server, over HTTP. */
export class Leases extends Locks<Lease, TryLeaseOptions, LeaseOptions> {
  constructor(options?: LeasesOptions);
}

export {};
