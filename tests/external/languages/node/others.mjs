// Those beside the client: plain sockets to the server, and servers that do as a step wants.
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const PATIENCE = 20; // seconds until what should come is missed

/** Resolves to what `look` returns, as soon as that is something. */
export async function until(what, look) {
  const end = performance.now() + PATIENCE * 1000;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (performance.now() > end) throw new Error(`${what}: not within ${PATIENCE} s`);
    await sleep(10);
  }
}

/** A session of the line protocol. */
export class Line {
  #socket;
  #unread = "";
  #lines = [];

  static async connect(port) {
    const line = new Line();
    line.#socket = net.connect(port, "127.0.0.1").setEncoding("utf8").setNoDelay();
    line.#socket.on("data", (text) => line.#take(text));
    line.#socket.on("error", () => {});
    await once(line.#socket, "connect");
    return line;
  }

  send(line) {
    this.#socket.write(`${line}\n`);
  }

  async next() {
    await until("a reply", () => this.#lines.length > 0);
    return this.#lines.shift();
  }

  ask(line) {
    this.send(line);
    return this.next();
  }

  /** The numbers of those who wait for a lock, as soon as there are so many. */
  waiting(name, wanted) {
    return until(`${wanted} who wait for ${name}`, async () => {
      const ids = [];
      let row = await this.ask(`WAITERS ${name}`);
      for (; !row.startsWith("END"); row = await this.next()) ids.push(/ session=(\d+)/.exec(row)[1]);
      return ids.length === wanted ? ids : null;
    });
  }

  free(name) {
    return until(`${name} is free`, async () => (await this.ask(`IS_FREE_LOCK ${name}`)) === "1");
  }

  close() {
    this.#socket.destroy();
  }

  #take(text) {
    const lines = (this.#unread + text).split("\n");
    this.#unread = lines.pop();
    this.#lines.push(...lines);
  }
}

async function listening(server) {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server.address().port;
}

/** A port on which nothing listens. */
export async function deadPort() {
  const server = net.createServer();
  const port = await listening(server);
  server.close();
  await once(server, "close");
  return port;
}

/**
 * A server of the line protocol. It answers a line as `answers[its first word]` does: with a text, or with what a
 * function returns, which may take its time. Undefined is no answer. Lines that are sent later are answered meanwhile.
 */
export class Stub {
  connections = 0;
  open = 0;
  questions = []; // when each KEEPALIVE arrived
  lines = []; // that came, but for these
  ends = []; // when each connection ended

  static async start(answers) {
    const stub = new Stub();
    const hello = "HELLO version=0.1.0 protocol=1 session=7 max_line=1024";
    const locks = { GET_LOCK: "1", FENCING_TOKEN: "5", RELEASE_LOCK: "1" };
    const usual = { HELLO: hello, INTRODUCE: "1", KEEPALIVE: "KEEPALIVE left=25.000", ...locks };
    stub.server = net.createServer((socket) => stub.#serve(socket, { ...usual, ...answers }));
    stub.port = await listening(stub.server);
    return stub;
  }

  #serve(socket, answers) {
    this.connections++;
    this.open++;
    socket.on("close", () => {
      this.open--;
      this.ends.push(performance.now());
    });
    socket.on("error", () => {});
    let unread = "";
    socket.setEncoding("utf8").on("data", async (text) => {
      const lines = (unread + text).split("\n");
      unread = lines.pop();
      for (const line of lines) {
        const word = line.split(" ")[0];
        if (word === "KEEPALIVE") this.questions.push(performance.now());
        else this.lines.push(line);
        const answer = typeof answers[word] === "function" ? await answers[word](this, socket) : answers[word];
        if (answer !== undefined && !socket.destroyed) socket.write(`${answer}\n`);
      }
    });
  }

  close() {
    this.server.close();
  }
}

/** A node that cannot serve: it says so, or closes the connection without a word. */
export class Elsewhere {
  connections = 0;

  static async start(words) {
    const node = new Elsewhere();
    node.server = net.createServer((socket) => {
      node.connections++;
      socket.on("error", () => {}).once("data", () => socket.end(words));
    });
    node.port = await listening(node.server);
    return node;
  }

  close() {
    this.server.close();
  }
}

/** Passes on requests over HTTP, and loses the answer to the first acquire. `requests` are the acquires. */
export class LosingProxy {
  requests = [];

  static async start(port) {
    const proxy = new LosingProxy();
    proxy.server = http.createServer(async (request, response) => {
      let body = "";
      for await (const part of request) body += part;
      const { method, url } = request;
      const headers = { "content-type": "application/json" };
      const answer = await fetch(`http://127.0.0.1:${port}${url}`, { method, body, headers });
      const text = await answer.text();
      if (url.endsWith("/acquire") && proxy.requests.push(JSON.parse(body)) === 1) return response.destroy();
      response.writeHead(answer.status, headers).end(text);
    });
    proxy.port = await listening(proxy.server);
    return proxy;
  }

  close() {
    this.server.close();
  }
}

/**
 * A server of leases that acknowledges so many heartbeats, and then says nothing any more. `where` it adds `odd`, and
 * `odds` of its path to each answer.
 */
export class LeaseStub {
  beats = []; // when each heartbeat arrived

  static async start(acknowledged, odd = {}, where = "/acquire", odds = () => ({})) {
    const stub = new LeaseStub();
    const answer = (response, facts) => {
      const isOdd = response.req.url.endsWith(where);
      response.setHeader("content-type", "application/json");
      const all = { ...facts, ...(isOdd && odd), ...odds(response.req.url) };
      response.end(JSON.stringify({ success: true, message: "", fencingToken: 5, ...all }));
    };
    stub.server = http.createServer((request, response) => {
      if (request.url.endsWith("/acquire")) return answer(response, { status: "Acquired", lockToken: "0".repeat(32) });
      if (request.url.endsWith("/heartbeat")) stub.beats.push(performance.now());
      if (stub.beats.length <= acknowledged) answer(response, { status: "HeartbeatReceived" });
    });
    stub.port = await listening(stub.server);
    return stub;
  }

  close() {
    this.server.close();
  }
}
