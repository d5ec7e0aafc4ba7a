"use strict";
// What the connections of one client know together: the addresses, and the cluster behind them if there is one.

const CONNECT_TIME = 3; // seconds until the next of several addresses is tried
const TURN_TIME = 5; // the same for one that is connected and silent: all nodes of a cluster are held up alike
const PARKED_TIME = 15; // for the first answer of a single one: without a leader a cluster holds a connection for 10 s

// The longest promise of a cluster is nine tenths of its --cluster-ttl. Others are shorter: they have what is left to
// the leader.
const EVERY = 1 / 9; // of the longest promise, between two questions: a tenth of --cluster-ttl
const MARGIN = 1 / 5; // of it, for the work to stop, if nobody says what that needs
const MOST = 3 / 10; // of it, that the work may need

class Cluster {
  #good = 0;
  #term = 0n;
  longest = 0;

  constructor(addresses) {
    this.addresses = addresses;
  }

  get isSeveral() {
    return this.addresses.length > 1;
  }

  /** All addresses in the order of the tries: the last good one is the first. */
  round() {
    return [...this.addresses.slice(this.#good), ...this.addresses.slice(0, this.#good)];
  }

  served(address) {
    this.#good = Math.max(0, this.addresses.indexOf(address));
  }

  /** The address behind this one, round and round. */
  after(address) {
    return this.addresses[(this.addresses.indexOf(address) + 1) % this.addresses.length];
  }

  connectTime(usual) {
    return this.isSeveral ? CONNECT_TIME : usual;
  }

  get firstAnswerTime() {
    return this.isSeveral ? TURN_TIME : PARKED_TIME;
  }

  /** Whether an answer of that term counts. One of a lower term than was seen is of a leader that no longer leads. */
  takes(term, left = 0) {
    if (term < this.#term) return false;
    this.#term = term;
    this.longest = Math.max(this.longest, left);
    return true;
  }

  /** What the longest promise means for all of them. Throws a RangeError if the work needs too long to stop. */
  rhythm(stopWithin, where) {
    const most = this.longest * MOST;
    if (most > 0 && stopWithin > most) {
      const text = `stopWithin is ${stopWithin} s, which is too long for the cluster of ${where}`;
      const advice = "or a greater --cluster-ttl or --takeover-delay of the servers, of which a fifth is always short";
      throw new RangeError(`${text}: make it ${most.toFixed(2)} s at most, ${advice} enough`);
    }
    return { every: this.longest * EVERY, margin: stopWithin ?? this.longest * MARGIN };
  }
}

/** Of `"a:3305,b:3305"` or an array of them. */
function partsOf(value) {
  return [value].flat().flatMap((one) => one.split(",")).map((one) => one.trim());
}

/** `{ host, port }` of each; `port` is that of those without one. */
function addressesOf(hosts, port) {
  return partsOf(hosts).map((text) => {
    const [, host, own] = /^(\[[^\]]*\]|[^:[\]]*):(\d{1,5})$/.exec(text) ?? [null, text, port];
    const number = Number(own);
    if (host === "" || number < 1 || number > 65535) {
      const given = JSON.stringify(hosts);
      throw new TypeError(`the option host of GetLock is like "127.0.0.1" or "a:3305,b:3305", not ${given}`);
    }
    return { host: host.replace(/^\[(.*)\]$/, "$1"), port: number };
  });
}

module.exports = { Cluster, PARKED_TIME, addressesOf, partsOf };
