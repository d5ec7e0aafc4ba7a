// What a person does at the page, without a mouse: `page.mjs LINE_PORT HTTP_PORT`, and the
// same of a server with users. Says `done` at the end.
// Exit code 77: there is no browser, or nothing to drive it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { Line, withBrowser } from "./browser.mjs";

const [line, http, guardedLine, guardedHttp] = process.argv.slice(2).map(Number);
const homeOf = (port) => `http://127.0.0.1:${port}`;
const home = homeOf(http);
const EVIL = `<img src=x onerror=alert(1)>`;

/** A netcat, as a person at a terminal has it. */
function netcat() {
  const nc = spawn("nc", ["127.0.0.1", String(line)], { stdio: ["pipe", "pipe", "inherit"] });
  let said = "";
  let heard = () => {};
  nc.stdout.on("data", (data) => {
    said += data;
    heard();
  });
  /** Resolves when it has said just this. */
  const says = async (what) => {
    while (!what.test(said)) await new Promise((resolve) => (heard = resolve));
  };
  return { type: (text) => nc.stdin.write(`${text}\n`), says, end: () => nc.kill() };
}

/** A page that may complain of nothing and ask nobody else. */
async function opened(context, path = "/", home = homeOf(http)) {
  const page = await context.newPage();
  const wrong = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(error.stack));
  page.on("dialog", (dialog) => wrong.push(dialog.message()));
  page.on("request", (request) => {
    const isOurs = request.url().startsWith(home) || request.url() === "data:,";
    if (!isOurs) wrong.push(`asked for ${request.url()}`);
  });
  page.setDefaultTimeout(20_000);
  await page.goto(home + path);
  await page.locator("#state[data-state=live]").waitFor();
  return { page, wrong };
}

const row = (page, name) => page.locator(`#locks > li[data-key=${JSON.stringify(name)}]`);
const has = (locator, text) => locator.filter({ hasText: text }).first().waitFor();
const focused = (page) => page.evaluate(() => document.activeElement.closest("li")?.dataset.key);

async function theStory(page) {
  await has(page.locator("#none"), "No lock is held.");
  await has(page.locator("#graph"), "Nobody waits.");
  const [holder, waiter] = [netcat(), netcat()];
  holder.type("GET_LOCK nightly 0");
  await has(row(page, "nightly"), "none");
  const first = (await row(page, "nightly").innerText()).match(/session (\d+)/)[1];
  waiter.type("GET_LOCK nightly 60");
  await has(row(page, "nightly"), "1 waiting");
  await has(page.locator("#graph svg .waiting"), "waits for nightly");

  await page.keyboard.press("j");
  assert.equal(await focused(page), "nightly");
  await page.keyboard.press("Enter");
  await has(row(page, "nightly").locator("ol li"), "1.");
  await page.keyboard.press("x");
  const dialog = page.locator("dialog#end");
  await has(dialog, `End session ${first}?`);
  await has(dialog, /nightly passes to session \d+/);
  await page.keyboard.press("Escape");
  assert.equal(await dialog.isVisible(), false);
  await holder.says(/^1\n$/);

  await page.keyboard.press("x");
  await page.keyboard.press("Enter");
  await has(page.locator("#said"), "has ended");
  await row(page, "nightly").locator(".head").filter({ hasNotText: `session ${first}` }).waitFor();
  await has(row(page, "nightly"), "Nobody waits");
  await holder.says(/^1\nERROR KILLED killed by session \d+/);
  await waiter.says(/^1\n$/);
  assert.equal(await focused(page), "nightly", "who stands at a lock stays there");

  await has(row(page, "nightly").locator("ul li"), `session ${first} · line`);
  await has(row(page, "nightly"), "its session was ended by KILL");

  waiter.end();
  await has(row(page, "nightly"), "Nobody holds it");
  await page.keyboard.press("Escape");
  await row(page, "nightly").waitFor({ state: "detached" });
  holder.end();
}

/** The keys go where they are meant to, while everything changes. */
async function keysAndFind(page, clients) {
  const [a, b] = clients;
  for (const name of ["app:one", "app:two", "batch"]) assert.equal(await a.ask(`GET_LOCK ${name} 0`), "1");
  await row(page, "batch").waitFor();
  for (const key of ["j", "j", "ArrowDown", "k"]) await page.keyboard.press(key);
  assert.equal(await focused(page), "app:two");
  // It moves to the top, and the one who stands there with it.
  b.send("GET_LOCK app:two 60");
  await has(row(page, "app:two"), "1 waiting");
  assert.equal(await page.locator("#locks > li").first().getAttribute("data-key"), "app:two");
  assert.equal(await focused(page), "app:two");

  await page.keyboard.press("/");
  await page.keyboard.type("BAT");
  await has(page.locator("#matching"), "1 lock with “BAT”");
  assert.equal(await page.locator("#locks > li").count(), 1);
  assert.match(page.url(), /\?find=BAT$/);
  // Esc clears, in the field and elsewhere; after it letters are keys.
  await page.keyboard.press("Escape");
  await row(page, "app:one").waitFor();
  await page.keyboard.press("j");
  assert.ok(await focused(page));
  await page.keyboard.press("/");
  await page.keyboard.type("app:o");
  await page.keyboard.press("Enter");
  await row(page, "batch").waitFor({ state: "detached" });
  await page.keyboard.press("Enter");
  await has(row(page, "app:one"), "Nobody waits");
  await page.keyboard.press("Escape");
  await row(page, "app:one").locator(".body").waitFor({ state: "detached" });
  await page.keyboard.press("Escape");
  await row(page, "batch").waitFor();
  assert.equal(await page.locator("#find").inputValue(), "");
  assert.doesNotMatch(page.url(), /find/);
  await page.keyboard.press("/");
  await page.keyboard.type("nothing like it");
  await has(page.locator("#none"), "No lock that is held has this");
  await page.keyboard.press("Escape");
  await row(page, "batch").waitFor();
  await page.keyboard.press("k");
  assert.ok(await focused(page));
  await page.keyboard.press("?");
  await has(page.locator("dialog#help"), "the session that holds it");
  await page.keyboard.press("Escape");
}

async function names(page, { 0: a, 2: c }) {
  assert.equal(await a.ask(`GET_LOCK '${EVIL}' 0`), "1");
  await row(page, EVIL).waitFor();
  c.send(`GET_LOCK '${EVIL}' 60`);
  await has(page.locator("#graph svg"), "waits for <img");
  assert.equal(await page.locator("img").count(), 0);
  const note = await fetch(`${home}/api/lock/acquire`, {
    method: "POST",
    body: JSON.stringify({ resourceName: "noted", clientId: "<b>web</b>", note: "<script>alert(2)</script>" }),
  });
  assert.equal(note.status, 200);
  await has(row(page, "noted"), "<b>web</b>");
  await has(page.locator("#sessions"), "<script>alert(2)</script>");
}

/** Nothing is wider than its place, or higher than two lines. */
async function longTexts(page, clients) {
  const [name, clientId] = ["w".repeat(64), "C".repeat(256)];
  assert.equal(await clients[0].ask(`GET_LOCK ${name} 0`), "1");
  const lease = { resourceName: "long", clientId, note: "n ".repeat(128) };
  await fetch(`${home}/api/lock/acquire`, { method: "POST", body: JSON.stringify(lease) });
  clients[1].close();
  clients[1] = new Line(line);
  clients[1].send(`GET_LOCK ${name} 60`);
  await has(page.locator("#graph svg"), "waits for www");
  await row(page, "long").waitFor();
  const head = await row(page, "long").locator(".head").boundingBox();
  assert.ok(head.height < 110, `${head.height} px high`);
  await page.locator(`#sessions [title=${clientId}]`).waitFor();
  const texts = page.locator("#graph g.waiting");
  for (const group of await texts.all()) {
    const [box, all] = [await group.locator("rect").boundingBox(), await group.boundingBox()];
    assert.ok(all.width <= box.width + 2, `${all.width} px in a box of ${box.width}`);
  }
  await row(page, "long").locator(".head").press("Enter");
  await has(row(page, "long").locator(".body"), clientId);
  await page.keyboard.press("Escape");
}

async function narrow(page) {
  await row(page, "w".repeat(64)).waitFor();
  await page.setViewportSize({ width: 320, height: 600 });
  await row(page, EVIL).locator(".head").press("Enter");
  await has(row(page, EVIL), "Waiting: 1");
  const [inside, outside] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(inside <= outside, `${inside} px wide`);
  await page.setViewportSize({ width: 1280, height: 800 });
}

/** What the server refuses to do is told. */
async function refused(page) {
  const answer = await page.evaluate(async () => {
    const answer = await fetch("api/session/4000000000/kill", { method: "POST" });
    return [answer.status, (await answer.json()).status];
  });
  assert.deepEqual(answer, [404, "NotFound"]);
}

/** A user sees their part, and is offered to end what they may. */
async function logged(context) {
  const [app, ops] = [new Line(guardedLine), new Line(guardedLine)];
  assert.equal(await app.ask("AUTH app 'secret of app'"), "1");
  assert.equal(await ops.ask("AUTH ops 'secret of ops'"), "1");
  assert.equal(await app.ask("GET_LOCK app:one 0"), "1");
  for (const name of ["app:two", "payroll"]) assert.equal(await ops.ask(`GET_LOCK ${name} 0`), "1");
  await context.setHTTPCredentials({ username: "app", password: "secret of app" });
  const { page, wrong } = await opened(context, "/", homeOf(guardedHttp));
  await has(row(page, "app:two"), "ops");
  assert.equal(await row(page, "payroll").count(), 0);
  await row(page, "app:two").locator(".head").press("x");
  await has(page.locator("#said"), "You may not end");
  await row(page, "app:one").locator(".head").press("x");
  await page.keyboard.press("Enter");
  await row(page, "app:one").waitFor({ state: "detached" });
  assert.match(await app.line(), /^ERROR KILLED/);
  assert.deepEqual(wrong, []);
  ops.close();
}

await withBrowser(async (context) => {
  const { page, wrong } = await opened(context);
  await theStory(page);
  const clients = [new Line(line), new Line(line), new Line(line)];
  await keysAndFind(page, clients);
  await names(page, clients);
  await longTexts(page, clients);
  await narrow(page);
  const other = await opened(context, "/?find=app:");
  await row(other.page, "app:one").waitFor();
  assert.equal(await other.page.locator("#locks > li").count(), 2);
  assert.deepEqual([wrong, other.wrong], [[], []]);
  await refused(page);
  for (const client of clients) client.close();
  await logged(context);
});
console.log("done");
process.exit();
