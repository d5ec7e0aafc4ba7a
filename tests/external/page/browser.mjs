// A browser, and clients of the lock server, for the scripts beside this one.
import { createRequire } from "node:module";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const NOT_INSTALLED = 77;
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

function playwright() {
  try {
    // Not a package of this folder: `.ci/run` installs it below target/drivers, which NODE_PATH names.
    return createRequire(import.meta.url)("playwright-core");
  } catch {
    process.exit(NOT_INSTALLED);
  }
}

/** A phone, as far as a page can tell. */
export const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };

/** Runs `use` with a browser that keeps nothing of earlier ones and calls nobody. */
export async function withBrowser(use, device = {}) {
  const { chromium } = playwright();
  if (!existsSync(CHROMIUM)) process.exit(NOT_INSTALLED);
  const folder = mkdtempSync(join(tmpdir(), "getlockd-page-"));
  const context = await chromium.launchPersistentContext(folder, {
    executablePath: CHROMIUM,
    headless: true,
    chromiumSandbox: false,
    colorScheme: "dark",
    ...device,
    args: ["--disable-gpu", "--disable-quic", "--disable-lcd-text", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
  try {
    return await use(context);
  } finally {
    await context.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A client of the line protocol, from an address of its own if wanted. */
export class Line {
  constructor(port, localAddress) {
    this.lines = [];
    this.wanted = [];
    this.socket = connect({ port, host: "127.0.0.1", localAddress });
    let rest = "";
    this.socket.on("data", (data) => {
      const lines = (rest + data).split("\n");
      rest = lines.pop();
      for (const line of lines) (this.wanted.shift() ?? ((line) => this.lines.push(line)))(line);
    });
    this.socket.on("error", () => {});
  }

  send(line) {
    this.socket.write(`${line}\n`);
  }

  line() {
    if (this.lines.length) return Promise.resolve(this.lines.shift());
    return new Promise((resolve) => this.wanted.push(resolve));
  }

  ask(line) {
    this.send(line);
    return this.line();
  }

  close() {
    this.socket.destroy();
  }
}
