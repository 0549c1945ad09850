/** A person's browser: pages with no console error, screenshots, and what axe says of them. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import {
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Locator,
  type Page,
} from "playwright-core";

const require = createRequire(import.meta.url);
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
/** What a browser logs when a server goes away, or a policy is probed on purpose. */
const EXPECTED = /WebSocket connection to|ERR_CONNECTION_REFUSED|ERR_INTERNET_DISCONNECTED|Failed to load resource/;

export const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true } as const;
export const SMALL = { viewport: { width: 320, height: 568 } } as const;
export const DESKTOP = { viewport: { width: 1280, height: 800 } } as const;

const ARGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"];

/** What went wrong in any page. */
export const complaints: string[] = [];

export function watch(context: BrowserContext): BrowserContext {
  context.on("page", watchPage);
  for (const page of context.pages()) {
    watchPage(page);
  }
  context.on("weberror", (error) => complaints.push(`${error.error()}`));
  return context;
}

function watchPage(page: Page): void {
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !EXPECTED.test(message.text())) {
      complaints.push(`${page.url()}: ${message.text()}`);
    }
  });
  page.on("request", (request) => {
    const { hostname, protocol } = new URL(request.url());
    if (protocol.startsWith("http") && hostname !== "127.0.0.1") {
      complaints.push(`${page.url()} asked ${request.url()}`);
    }
  });
}

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "", args: ARGS });
}

/** A browser whose profile is in `folder`, whose camera shows the frames of `video`. */
export async function withCamera(folder: string, video: string, options: BrowserContextOptions) {
  const camera = [
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    `--use-file-for-fake-video-capture=${video}`,
  ];
  return watch(await profile(folder, options, camera));
}

export function profile(folder: string, options: BrowserContextOptions, more: string[] = []) {
  return chromium.launchPersistentContext(folder, {
    executablePath: process.env.CHROMIUM ?? "",
    args: [...ARGS, ...more],
    ...options,
  });
}

/** A picture of the whole page, for people to look at. */
export async function shoot(page: Page, name: string): Promise<void> {
  // a view that is still arriving would look washed out
  await page.evaluate(() => {
    const ends = (one: Animation) => one.effect?.getComputedTiming().iterations !== Number.POSITIVE_INFINITY;
    return Promise.all(document.getAnimations().filter(ends).map(({ finished }) => finished));
  });
  await page.screenshot({ path: join(process.env.ARTEFACTS ?? "", `${name}.png`), fullPage: true });
}

/** What axe answers, as far as it is read here. */
interface Found {
  violations: { id: string; nodes: { html: string; failureSummary: string }[] }[];
}

/** No violation of WCAG 2.2 AA or of good practice that axe can see, in light and in dark. */
export async function accessible(page: Page, name: string): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    await shoot(page, `${name}-${colorScheme}`);
    // the page's policy lets no script of ours in: it is run beside it, as a browser's own tool is
    const found = await page.evaluate(
      `(() => { const module = undefined; ${AXE}; return axe.run(document, { resultTypes: ["violations"] }); })()`,
    );
    const told = (found as Found).violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`),
    );
    assert.deepEqual(told, [], `${name}, ${colorScheme}`);
  }
  await page.emulateMedia({ colorScheme: "light" });
}

/** It can be seen whether the page is scrolled up or down. */
export async function alwaysInView(page: Page, ...wanted: Locator[]): Promise<void> {
  const room = page.viewportSize()?.height ?? 0;
  for (const place of [0, 1e6]) {
    await page.evaluate((place) => scrollTo(0, place), place);
    for (const one of wanted) {
      const box = await one.boundingBox();
      assert.ok(box && box.y >= 0 && box.y + box.height <= room, `${box?.y} of ${room} px`);
    }
  }
  await page.evaluate(() => scrollTo(0, 0));
}

/** Nothing has to be scrolled sideways (WCAG 2.2, 1.4.10). */
export async function fits(page: Page): Promise<void> {
  const [wide, room] = await page.evaluate(() => [
    document.documentElement.scrollWidth,
    document.documentElement.clientWidth,
  ]);
  assert.ok((wide ?? 0) <= (room ?? 0), `${wide} px in ${room}`);
}
