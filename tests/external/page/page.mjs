// What a person does at the page, without a mouse: `page.mjs LINE_PORT HTTP_PORT`, the same of a server
// with users, and the HTTP port of the leader of a cluster. Says `done` at the end.
// Exit code 77: there is no browser, or nothing to drive it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { Line, PHONE, withBrowser } from "./browser.mjs";

const [line, http, guardedLine, guardedHttp, leaderHttp] = process.argv.slice(2).map(Number);
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

/** The page of a leader shows its cluster; that of a server alone has nothing of it. */
async function clustered(context) {
  const alone = await opened(context);
  assert.equal(await alone.page.locator("#cluster-part").isVisible(), false);
  const { page, wrong } = await opened(context, "/", homeOf(leaderHttp));
  await has(page.locator("#cluster-title"), /a leads for .*, term 16226/);
  await has(page.locator("#nodes .leader"), "10.0.0.1:3309 · version 0.1.0");
  await has(page.locator("#nodes .follower"), "relays 12 connections");
  await has(page.locator("#changes li"), "a leads, term 16226 · no beat");
  assert.deepEqual([wrong, alone.wrong], [[], []]);
}

async function theStory(page) {
  await has(page.locator("#none"), "No lock is held. Take one: getlock demo -- sleep 60.");
  await has(page.locator("#graph"), "No one is waiting.");
  assert.equal(await page.locator("#blockers-part").isVisible(), false);
  const [holder, waiter] = [netcat(), netcat()];
  holder.type("GET_LOCK nightly 0");
  await has(row(page, "nightly"), "none");
  const first = (await row(page, "nightly").innerText()).match(/session (\d+)/)[1];
  waiter.type("GET_LOCK nightly 60");
  await has(row(page, "nightly"), "1 waiting");
  await has(page.locator("#graph .waiting"), "waits for nightly");
  await has(page.locator("#blockers"), "blocks 1 session");

  await page.keyboard.press("j");
  assert.equal(await focused(page), "nightly");
  await page.keyboard.press("Enter");
  await has(row(page, "nightly").locator("ol li"), "1.");
  await theDialog(page, first, holder);
  await row(page, "nightly").locator(".head").filter({ hasNotText: `session ${first}` }).waitFor();
  await has(row(page, "nightly"), "No one is waiting");
  await holder.says(/^1\nERROR KILLED killed by session \d+: deploy stuck, Ana; /);
  await waiter.says(/^1\n$/);
  assert.equal(await focused(page), "nightly", "who stands at a lock stays there");

  await has(row(page, "nightly").locator("ul li"), `session ${first} · line protocol`);
  await has(row(page, "nightly"), "its session was killed: “deploy stuck, Ana”");

  waiter.end();
  await has(row(page, "nightly"), "Not held");
  await page.keyboard.press("Escape");
  await row(page, "nightly").waitFor({ state: "detached" });
  holder.end();
}

/** Enter leaves the session alone; to end it takes another key. */
async function theDialog(page, id, holder) {
  const dialog = page.locator("dialog#end");
  const asked = async () => {
    await page.keyboard.press("x");
    await has(dialog, `End session ${id}?`);
  };
  await asked();
  await has(dialog, /nightly passes to session \d+/);
  await has(dialog, "connected for");
  assert.equal(await page.evaluate(() => document.activeElement.id), "end-not");
  for (const key of ["Enter", "Escape"]) {
    await page.keyboard.press(key);
    assert.equal(await dialog.isVisible(), false);
    await asked();
  }
  // The next question may open before the browser tells the page that the last one was closed.
  await page.evaluate(() => {
    document.querySelector("dialog#end").close();
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "x", bubbles: true }));
  });
  await has(dialog, `End session ${id}?`);
  await page.locator("#end-reason").fill("deploy stuck, Ana");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "end-do");
  await holder.says(/^1\n$/);
  await page.keyboard.press("y");
  await has(page.locator("#said"), "has ended");
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
  await has(page.locator("#blockers"), /holds app:two for .+, and 2 other locks/);

  await page.keyboard.press("/");
  await page.keyboard.type("BAT");
  await has(page.locator("#matching"), "1 lock matches “BAT”");
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
  await has(row(page, "app:one"), "No one is waiting");
  await page.keyboard.press("Escape");
  await row(page, "app:one").locator(".body").waitFor({ state: "detached" });
  await page.keyboard.press("Escape");
  await row(page, "batch").waitFor();
  assert.equal(await page.locator("#find").inputValue(), "");
  assert.doesNotMatch(page.url(), /find/);
  await page.keyboard.press("/");
  await page.keyboard.type("nothing like it");
  await has(page.locator("#none"), "No lock that is held matches.");
  await has(page.locator("#graph"), "No one is waiting for a matching lock.");
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
  await has(page.locator("#graph"), "waits for <img");
  assert.equal(await page.locator("img").count(), 0);
  const note = await fetch(`${home}/api/lock/acquire`, {
    method: "POST",
    body: JSON.stringify({ resourceName: "noted", clientId: "<b>web</b>", note: "<script>alert(2)</script>" }),
  });
  assert.equal(note.status, 200);
  await has(row(page, "noted"), "<b>web</b>");
  await has(page.locator("#sessions"), "<script>alert(2)</script>");
}

/** How many permits of a lock are held, and who has them. */
async function permits(page) {
  const clients = [new Line(line), new Line(line), new Line(line)];
  assert.equal(await clients[0].ask("GET_PERMIT uploads 2 0"), "1");
  await has(row(page, "uploads"), "1 of 2 permits · session");
  assert.equal(await clients[1].ask("GET_PERMIT uploads 2 0"), "1");
  clients[2].send("GET_PERMIT uploads 2 60");
  await has(row(page, "uploads"), "1 waiting");
  await has(row(page, "uploads"), /2 of 2 permits · session \d+ and 1 other/);
  await row(page, "uploads").locator(".head").press("Enter");
  await has(row(page, "uploads").locator("h3"), "Held by: 2 of 2 permits");
  assert.equal(await row(page, "uploads").locator(".tag").filter({ hasText: "permit" }).count(), 3);
  await page.keyboard.press("Escape");
  for (const client of clients) client.close();
  await row(page, "uploads").waitFor({ state: "detached" });
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
  await has(page.locator("#graph"), "waits for www");
  await row(page, "long").waitFor();
  const head = await row(page, "long").locator(".head").boundingBox();
  assert.ok(head.height < 110, `${head.height} px high`);
  await page.locator(`#sessions [title=${clientId}]`).waitFor();
  for (const box of await page.locator("#graph .box").all()) {
    const [inside, outside, height] = await box.evaluate((box) => [box.scrollWidth, box.clientWidth, box.clientHeight]);
    assert.ok(inside <= outside && height < 110, `${inside} px in a box of ${outside}, ${height} px high`);
  }
  await row(page, "long").locator(".head").press("Enter");
  await has(row(page, "long").locator(".body"), clientId);
  await page.keyboard.press("Escape");
}

async function narrow(page) {
  await row(page, "w".repeat(64)).waitFor();
  await page.setViewportSize({ width: 320, height: 600 });
  await row(page, EVIL).locator(".head").press("Enter");
  await has(row(page, EVIL), "1 waiting, next first");
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
  await has(page.locator("#me"), "as app");
  await row(page, "app:one").locator(".head").press("x");
  await page.keyboard.press("y");
  await row(page, "app:one").waitFor({ state: "detached" });
  assert.match(await app.line(), /^ERROR KILLED/);
  assert.deepEqual(wrong, []);
  ops.close();
}

/** A browser that has been given a password forgets it. */
async function loggedOut(context) {
  const page = await context.newPage();
  await page.goto(`http://ops:${encodeURIComponent("secret of ops")}@127.0.0.1:${guardedHttp}/`);
  await has(page.locator("#me"), "as ops");
  await page.locator("#log-out").click();
  await has(page.locator("body"), "You are logged out");
  assert.equal(await page.locator("#locks").count(), 0);
  await assert.rejects(page.goto(homeOf(guardedHttp)), /ERR_INVALID_AUTH_CREDENTIALS/);
}

/** A chain of four: `backup` is behind all, and whoever looks for `notes` is told so. */
async function chain() {
  const lease = { resourceName: "backup", clientId: "db-1", note: "pg_dump, started by cron", ttlMs: 3_600_000 };
  const { session } = await fetch(`${home}/api/lock/acquire`, { method: "POST", body: JSON.stringify(lease) }).then(() => fetch(`${home}/api/locks?prefix=backup`)).then(async (answer) => (await answer.json()).locks[0]);
  const clients = [];
  for (const [name, other] of [["migrate", "backup"], ["deploy", "migrate"], ["notes", "deploy"]]) {
    const client = new Line(line);
    await client.ask(`INTRODUCE job-${clients.length}@runner 'by Ana'`);
    assert.equal(await client.ask(`GET_LOCK ${name} 0`), "1");
    client.send(`GET_LOCK ${other} 600`);
    clients.push(client);
  }
  for (let at = 0; at < 30; at++) {
    const client = new Line(line);
    assert.equal(await client.ask(`GET_LOCK worker:${at} 0`), "1");
    clients.push(client);
  }
  return { session, clients };
}

/** Who is behind it all stands in the first screen, in the graph and in the opened lock; all of it can be read. */
async function culprit(page, { session }, colorScheme) {
  await page.emulateMedia({ colorScheme });
  await page.locator("#find").fill("notes");
  await has(page.locator("#matching"), "1 lock matches “notes”");
  const first = page.locator("#blockers > li").first();
  await has(first, /db-1 blocks 3 sessions/);
  for (const known of ["backup", "pg_dump, started by cron", `session ${session}`]) await has(first, known);
  const { y, height } = await first.boundingBox();
  assert.ok(y + height <= page.viewportSize().height, `it ends at ${y + height} px`);
  assert.equal(await page.locator("#blockers > li").count(), 1);
  await has(page.locator("#graph .root"), "db-1");
  assert.match(await page.locator("#graph").innerText(), /waits for backup[^]*waits for migrate[^]*waits for deploy/);
  await has(row(page, "notes"), "is itself waiting for deploy");
  await has(row(page, "notes"), "job-2@runner");
  await has(page.locator("#sessions"), "“by Ana”");
  await row(page, "notes").locator(".head").press("Enter");
  await has(row(page, "notes").locator(".chain .end"), /backup held by db-1[^]*does not wait/);
  const [inside, outside] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(inside <= outside, `${inside} px wide`);
  for (const { text, ratio } of await page.evaluate(contrasts)) assert.ok(ratio >= 4.5, `${ratio}: ${text} (${colorScheme})`);
  // A box of the graph opens its lock, though it does not match.
  await page.locator("#graph .root").click();
  await has(row(page, "backup").locator(".body"), "1 waiting, next first");
  await has(row(page, "backup").locator(".head"), "not matching");
  await page.locator("#find").fill("");
  await row(page, "worker:0").waitFor();
}

/** The contrast of each text with what is behind it (WCAG 2.2). Runs in the page. */
function contrasts() {
  const colour = (text) => text.match(/[\d.]+/g).map(Number);
  const light = (text) => {
    const [r, g, b] = colour(text).slice(0, 3).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const colours = colour(getComputedStyle(element).backgroundColor);
    return colours.length === 3 || colours[3] > 0 || !element.parentElement ? getComputedStyle(element).backgroundColor : behind(element.parentElement);
  };
  const texts = [...document.querySelectorAll("body *")].filter((element) => element.offsetParent && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  return texts.map((element) => {
    const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => b - a);
    return { text: element.textContent.slice(0, 40), ratio: (a + 0.05) / (b + 0.05) };
  });
}

/** The boxes of the graph are one stop; arrows lead from one to the next, and Enter opens a lock. */
async function keysInTheGraph(page) {
  assert.equal(await page.locator("#graph .box[tabindex='0']").count(), 1);
  await page.locator("#graph .box").first().focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await has(row(page, "backup"), "1 waiting, next first");
  assert.equal(await focused(page), "backup");
  await page.keyboard.press("Escape");
}

/** On a phone: who waits comes first, there are links, few locks and no keys. */
async function onAPhone(page) {
  const at = async (what) => (await page.locator(what).boundingBox()).y;
  assert.ok((await at("#waits-part")) < (await at("#locks-part")) && (await at("#locks-part")) < (await at("#sessions-part")));
  assert.equal(await page.locator("#keys").isVisible(), false);
  assert.equal(await page.locator("#locks > li").count(), 20);
  await page.locator("#parts").getByText("Locks").click();
  const { y } = await page.locator("#locks-title").boundingBox();
  assert.ok(Math.abs(y) < 60, `${y} px from the top`);
  await page.locator("#more-locks").click();
  await row(page, "worker:29").waitFor();
  assert.equal(await page.locator("#more-locks").isVisible(), false);
}

async function sorted(page) {
  await page.locator("#sort").selectOption("age");
  await page.locator("#locks > li:last-child[data-key='worker:29']").waitFor();
  await page.locator("#sort").selectOption("name");
  await page.locator("#locks > li:last-child[data-key='worker:9']").waitFor();
  assert.match(page.url(), /\?sort=name$/);
  await page.locator("#sort").selectOption("blocked");
}

/** While the server is away, and when another has come in its place: told by a network between that is cut. */
async function restarted(context) {
  const { page } = await opened(context);
  await row(page, "backup").waitFor();
  const isLost = page.locator("#state[data-state=lost]");
  // The stream is made anew when the search changes.
  await page.route("**/events*", (route) => route.abort());
  await page.locator("#find").fill("backup");
  await isLost.waitFor();
  await has(page.locator("#notice"), "this page shows the state at that time");
  assert.equal(await page.title(), "(lost) getlockd");
  assert.equal(await page.locator("button.danger:not(:disabled)").count(), 0);
  const age = () => row(page, "backup").locator(".head time").innerText();
  const [before] = [await age(), await has(page.locator("#notice"), /Disconnected [2-9] s ago/)];
  assert.equal(await age(), before, "ages stand still");
  const scene = { version: "0", startedAt: Date.now(), stopping: false, totals: { sessions: 0, locks: 0, waiters: 0 }, blocking: 0, blockers: [], matching: 0, locks: [], chain: [], sessions: {} };
  await page.unroute("**/events*");
  await page.route("**/events*", (route) => route.fulfill({ contentType: "text/event-stream", body: `event: scene\ndata: ${JSON.stringify(scene)}\n\n` }));
  await has(page.locator("#restarted"), /The server restarted at \d\d:\d\d:\d\d. All locks held before are gone./);
  await page.locator("#dismiss").click();
  assert.equal(await page.locator("#restarted").isVisible(), false);
  await page.close();
}

await withBrowser(async (context) => {
  const { page, wrong } = await opened(context);
  await theStory(page);
  const clients = [new Line(line), new Line(line), new Line(line)];
  await keysAndFind(page, clients);
  await names(page, clients);
  await permits(page);
  await longTexts(page, clients);
  await narrow(page);
  const other = await opened(context, "/?find=app:");
  await row(other.page, "app:one").waitFor();
  assert.equal(await other.page.locator("#locks > li").count(), 2);
  assert.deepEqual([wrong, other.wrong], [[], []]);
  await refused(page);
  for (const client of clients) client.close();
});
const scene = await chain();
for (const device of [{ viewport: { width: 1440, height: 900 } }, PHONE]) {
  await withBrowser(async (context) => {
    const { page, wrong } = await opened(context);
    await row(page, "notes").waitFor();
    if (device === PHONE) await onAPhone(page);
    for (const colorScheme of ["light", "dark"]) await culprit(page, scene, colorScheme);
    if (device !== PHONE) {
      await keysInTheGraph(page);
      await sorted(page);
    }
    assert.deepEqual(wrong, []);
    if (device !== PHONE) await restarted(context);
  }, device);
}
for (const client of scene.clients) client.close();
await withBrowser(clustered);
await withBrowser(loggedOut);
await withBrowser(logged);
console.log("done");
process.exit();
