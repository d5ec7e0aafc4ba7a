// Takes the pictures of the page that README.md and docs/http.md show: `shot.mjs LINE_PORT HTTP_PORT FOLDER`, of a server
// on which nothing else is going on. With NODE_PATH=target/drivers/node_modules.
import { join } from "node:path";
import { Line, withBrowser } from "./browser.mjs";

const [line, http, folder] = process.argv.slice(2);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function lease(resourceName, clientId, note, more = {}) {
  const body = JSON.stringify({ resourceName, clientId, note, ttlMs: 3_600_000, ...more });
  return fetch(`http://127.0.0.1:${http}/api/lock/acquire`, { method: "POST", body }).catch(() => {});
}

const clients = [];
function client(host) {
  clients.push(new Line(line, `127.0.0.${host}`));
  return clients.at(-1);
}

async function lively() {
  const before = client(20);
  await before.ask("GET_LOCK migrate:orders 0");
  await sleep(1800);
  before.close();
  await lease("nightly-backup", "db-1", "pg_dump, started by cron");
  const worker = client(21);
  await worker.ask("INTRODUCE 'ops@db-2[4711] migrate' 'orders 2026.11'");
  await worker.ask("GET_LOCK migrate:orders 0");
  worker.send("GET_LOCK nightly-backup -1");
  await sleep(300);
  const deployer = client(22);
  await deployer.ask("INTRODUCE 'ci@runner-3[812] deploy' 'release 2026.11.3'");
  await deployer.ask("GET_LOCK deploy:web 0");
  deployer.send("GET_LOCK migrate:orders -1");
  for (const host of [31, 32, 33]) {
    client(host).send("GET_LOCK deploy:web 3600");
    await sleep(700);
  }
  void lease("nightly-backup", "db-2", "pg_dump, started by hand", { waitMs: 3_600_000 });
  for (const host of [41, 42, 43]) await client(host).ask("GET_SHARED_LOCK report:2026-11 0");
  const writer = client(44);
  await writer.ask("GET_LOCK invoice:run 0");
  writer.send("GET_LOCK report:2026-11 -1");
  await sleep(500);
  await lease("deploy:api", "ci-7", "release 2026.11.3");
  for (const host of [51, 52]) await client(host).ask(`GET_LOCK worker:${host} 0`);
  await client(53).ask("GET_LOCK 'cache warm-up' 0");
}

await withBrowser(async (context) => {
  await lively();
  const page = await context.newPage();
  await page.setViewportSize({ width: 1440, height: 1000 });
  await page.goto(`http://127.0.0.1:${http}/`);
  await page.locator("#locks > li[data-key='deploy:web'] .head").press("Enter");
  await sleep(Number(process.env.SHOT_AFTER ?? 8) * 1000);
  const shot = (name) => page.screenshot({ path: join(folder, `${name}.png`), animations: "disabled" });
  await shot("page");
  if (process.env.SHOTS !== "all") return;
  await page.keyboard.press("x");
  await shot("dialog");
  await page.keyboard.press("Escape");
  await page.keyboard.press("?");
  await shot("help");
  await page.keyboard.press("Escape");
  await page.emulateMedia({ colorScheme: "light" });
  await shot("light");
  await page.setViewportSize({ width: 320, height: 720 });
  await page.screenshot({ path: join(folder, "narrow-light.png"), fullPage: true });
  await page.emulateMedia({ colorScheme: "dark" });
  await page.screenshot({ path: join(folder, "narrow.png") });
  await page.keyboard.press("x");
  await shot("narrow-dialog");
});
for (const { socket } of clients) socket.destroy();
process.exit();
