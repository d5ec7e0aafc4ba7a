"use strict";
// Requests over HTTP, each on a connection of its own.

const http = require("node:http");
const https = require("node:https");
const tls = require("node:tls");
const { Cluster, partsOf } = require("./cluster.cjs");
const { ANSWER_TIME, LONGEST_TIMER, Odd, away, quietly, startOf } = require("./held.cjs");

const LONGEST_REPLY = 1 << 20;

/** Of options that are wrong, `tls` tells here, and not when a lock is wanted. */
function secureOptions(secure) {
  if (!secure) return null;
  const options = secure === true ? {} : secure;
  return { ...options, secureContext: options.secureContext ?? tls.createSecureContext(options) };
}

/** Where requests go, and what they all have. */
class Site {
  #options;

  constructor({ url, user, password, token, tls: secure }) {
    const bases = partsOf(url ?? "http://127.0.0.1:3308").map((one) => new URL(one));
    for (const base of bases) {
      if (!["http:", "https:"].includes(base.protocol)) {
        throw new TypeError(`the option url of Leases begins with http:// or https://, not ${base.protocol}`);
      }
      if (secure && base.protocol === "http:") {
        throw new TypeError("the option tls of Leases needs a url that begins with https://");
      }
      if (!base.pathname.endsWith("/")) base.pathname += "/";
    }
    this.cluster = new Cluster(bases);
    const basic = Buffer.from(`${user}:${password ?? ""}`).toString("base64");
    const login = token ? { authorization: `Bearer ${token}` } : user ? { authorization: `Basic ${basic}` } : {};
    const headers = { ...login, "content-type": "application/json" };
    this.#options = { method: "POST", headers, agent: false, ...secureOptions(secure) };
  }

  away(text) {
    return away(this.cluster.addresses.map((base) => base.origin).join(", "), new Error(text));
  }

  takes({ term }) {
    return !Number.isSafeInteger(term) || this.cluster.takes(BigInt(term));
  }

  post(base, path, body, patience) {
    const connectTime = this.cluster.connectTime(patience);
    const call = new Call(new URL(`api/lock/${path}`, base), this.#options, JSON.stringify(body), patience);
    return connectTime < patience ? call.connectWithin(connectTime) : call;
  }
}

/**
 * A request on a connection of its own, so that hanging up leaves the queue. It is not by `fetch`, which gives up after
 * 300 s of silence.
 */
class Call {
  wasSent = false;
  isBroken = false; // the connection is, before the answer was whole
  isLate = false; // no answer came in time
  #request;

  constructor(url, options, body, patience) {
    const { request } = url.protocol === "https:" ? https : http;
    const headers = { ...options.headers, "content-length": Buffer.byteLength(body) };
    this.#request = request(url, { ...options, headers });
    this.#request.on("socket", (socket) => {
      socket.once(url.protocol === "https:" ? "secureConnect" : "connect", () => (this.wasSent = true));
    });
    this.#request.setNoDelay();
    this.#request.setSocketKeepAlive(true, 10_000);
    this.reply = quietly(this.#answer(url, patience));
    this.#request.end(body);
  }

  connectWithin(seconds) {
    const late = () => this.#request.socket?.connecting !== false && this.#request.destroy(new Error("it is silent"));
    const timer = setTimeout(late, seconds * 1000);
    this.reply.finally(() => clearTimeout(timer)).catch(() => {});
    return this;
  }

  /** Says goodbye and still reads: a grant can be on its way, and has to be released. */
  hangUp() {
    const { socket } = this.#request;
    if (!socket || socket.connecting || socket.secureConnecting) return this.destroy();
    socket.end();
    setTimeout(() => this.destroy(), ANSWER_TIME * 1000).unref();
  }

  destroy() {
    this.#request.destroy();
  }

  async #answer(url, patience) {
    const late = () => {
      this.isLate = true;
      this.#request.destroy(new Odd(`no answer came within ${patience.toFixed(1)} s`));
    };
    const timer = patience < LONGEST_TIMER ? setTimeout(late, patience * 1000) : null;
    try {
      return await new Promise((resolve, reject) => {
        this.#request.on("error", reject);
        this.#request.on("response", (response) => replyIn(response).then(resolve, reject));
      });
    } catch (error) {
      this.isBroken = !(error instanceof Odd);
      throw away(url.origin, error);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** A reply is final if the same request would be answered the same. */
async function replyIn(response) {
  let text = "";
  for await (const part of response.setEncoding("utf8")) {
    text += part;
    if (text.length > LONGEST_REPLY) throw new Odd("its answer has no end");
  }
  const code = response.statusCode;
  const isFinal = code >= 400 && code < 500 && ![408, 429].includes(code);
  const reply = response.headers["content-type"]?.startsWith("application/json") ? parsed(text) : null;
  if (typeof reply?.status === "string") return { ...reply, isFinal };
  const Kind = code >= 500 ? Error : Odd; // a proxy could not pass on the answer
  throw new Kind(`it answers ${code} ${startOf(text)}, which is not an answer of getlockd`);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

module.exports = { Site, secureOptions };
