/** The web authenticator as people use it, beside the demo's sign-in page. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser, BrowserContext, Locator, Page } from "playwright-core";
import {
  accessible,
  alwaysInView,
  complaints,
  DESKTOP,
  fits,
  launch,
  PHONE,
  profile,
  SMALL,
  shoot,
  watch,
  withCamera,
} from "./browser.ts";
import { Demo } from "./demo.ts";
import { film } from "./film.ts";

let demo: Demo;
let browser: Browser;
/** Where the person signs in. */
let desk: Page;
/** The phone, whose profile outlives its browser. */
let folder: string;
let phone: BrowserContext;
let page: Page;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "countersign-web-"));
  demo = await Demo.start();
  browser = await launch();
  const context = watch(await browser.newContext({ ...DESKTOP, locale: "en-GB" }));
  desk = await context.newPage();
  phone = watch(await profile(join(folder, "phone"), { ...PHONE, locale: "en-GB" }));
  page = phone.pages()[0] ?? (await phone.newPage());
});

after(async () => {
  await phone?.close();
  await browser?.close();
  await demo?.stop();
  rmSync(folder, { recursive: true, force: true });
});

let broken = false;

/** Steps follow each other: after one that failed there is nothing to see but its last picture. */
function step(name: string, walk: () => Promise<void> | void): void {
  test(name, async (context) => {
    if (broken) {
      return context.skip("an earlier step failed");
    }
    try {
      await walk();
    } catch (error) {
      broken = true;
      await shoot(page, "failed-page").catch(() => undefined);
      await shoot(desk, "failed-desk").catch(() => undefined);
      throw error;
    }
  });
}

const main = (state: string): Locator => desk.locator(`main[data-state="${state}"]`);
const button = (name: string | RegExp, on: Page = page): Locator => on.getByRole("button", { name });
const heading = (name: string | RegExp, on: Page = page): Locator => on.getByRole("heading", { name });

/** Starts a sign-in and answers with the number on its page. */
async function signIn(): Promise<string> {
  // a tab of its own: an older one's page may be reloading itself
  const tab = await desk.context().newPage();
  await desk.close();
  desk = tab;
  await desk.goto(await demo.page());
  await desk.getByRole("button", { name: /sign in/i }).click();
  return desk.locator("#number").innerText();
}

/** Waits for the card; opens the app, as the page advises, if it doesn't ring. */
async function card(on: Page = page): Promise<void> {
  const asks = heading(/asks you to confirm a sign-in/, on);
  try {
    await asks.waitFor({ timeout: 3000 });
  } catch {
    await button("Refresh", on).first().click();
    await asks.waitFor();
  }
}

/** Types on the page's own keypad. */
async function type(number: string, on: Page = page): Promise<void> {
  for (const digit of number.replace(/\D/g, "")) {
    await on.getByRole("group", { name: "Keypad" }).getByRole("button", { name: digit, exact: true }).click();
  }
}

const other = (number: string): string => number.replace(/\d$/, (digit) => String((Number(digit) + 1) % 10));

async function done(): Promise<void> {
  await button("Done").click();
}

step("a link makes the browser an authenticator", async () => {
  await page.goto(await demo.link());
  await heading("Add an account").waitFor();
  assert.equal(new URL(page.url()).hash, "", "the secret left the address bar");
  assert.equal(new URL(page.url()).pathname, "/");
  await page.getByLabel("Name of this device").fill("e2e phone");
  await accessible(page, "enrol-link");
  await button("Add this browser").click();
  await heading("Type the enrolment number").waitFor();
  await accessible(page, "enrol-number");
  await type(await demo.number());
  await button("Confirm").click();
  await heading("demo is ready").waitFor();
  await accessible(page, "enrol-done");
  await done();
  await heading("Nothing is waiting").waitFor();
  await page.getByText("Connected", { exact: true }).waitFor();
  await accessible(page, "calm");
});

step("the key can't be taken out of the browser", async () => {
  const kept = await page.evaluate(async () => {
    const opening = indexedDB.open("countersign");
    const db = await new Promise<IDBDatabase>((resolve) => {
      opening.onsuccess = () => resolve(opening.result);
    });
    const asking = db.transaction("accounts").objectStore("accounts").getAll();
    const [account] = await new Promise<any[]>((resolve) => {
      asking.onsuccess = () => resolve(asking.result);
    });
    const refusal = (key: CryptoKey, format: "pkcs8" | "raw") =>
      crypto.subtle.exportKey(format, key).then(() => "given away", (error: Error) => error.name);
    return {
      algorithm: account.key.privateKey.algorithm.name,
      key: await refusal(account.key.privateKey, "pkcs8"),
      totp: await refusal(account.totp.key, "raw"),
    };
  });
  assert.deepEqual(kept, {
    algorithm: "Ed25519",
    key: "InvalidAccessError",
    totp: "InvalidAccessError",
  });
});

step("a number typed on the keypad approves", async () => {
  const number = await signIn();
  await card();
  await page.getByText("Chrome on Linux").waitFor();
  assert.equal(await button("Approve").isDisabled(), true);
  await accessible(page, "request");
  await fits(page);
  await type(number);
  await shoot(page, "request-typed");
  await button("Approve").click();
  await main("approved").waitFor();
  await heading("Approved").waitFor();
  await accessible(page, "approved");
  await done();
});

step("a number is pasted, grouped as pages write it", async () => {
  const number = await signIn();
  await card();
  const paste = (text: string) =>
    page.getByLabel("Number on the sign-in page").evaluate((field, text) => {
      const clipboardData = new DataTransfer();
      clipboardData.setData("text/plain", text);
      const event = { clipboardData, bubbles: true, cancelable: true };
      field.dispatchEvent(new ClipboardEvent("paste", event));
    }, text);
  await paste("https://evil.example/123456");
  await page.getByText("The clipboard does not hold a number of 6 digits.").waitFor();
  await accessible(page, "paste-refused");
  const digits = number.replace(/\D/g, "");
  await paste(` ${digits.slice(0, 3)} ${digits.slice(3)}\n`);
  assert.equal(await page.getByLabel("Number on the sign-in page").inputValue(), digits);
  await button("Approve").click();
  await main("approved").waitFor();
  await done();
});

step("a reload keeps the account, and the waiting card comes back", async () => {
  const number = await signIn();
  await card();
  await page.reload();
  await card();
  // with a keyboard alone
  await page.locator("#number:not([readonly])").waitFor();
  await page.keyboard.type(number.replace(/\D/g, ""));
  await page.locator("button.primary:enabled").waitFor();
  await page.keyboard.press("Enter");
  await main("approved").waitFor();
  await done();
});

step("requests that don't ring show when the person asks, and only then", async () => {
  const quiet = ["integration", "create", "--name", "quiet"];
  const { api_key: key } = await demo.admin(...quiet);
  const session = "e2e-silent-browser-session";
  const answer = await fetch(`${await demo.page()}/v1/challenges`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({
      user: "name:demo",
      context: { browser_session: session },
      details: [{ label: "Order <b>", value: "4711" }],
    }),
  });
  assert.equal(answer.status, 201);
  const { number } = (await answer.json()) as { number: string };
  // a later request that does ring is a clock: the silent one would have been here by then
  await page.getByText("Connected", { exact: true }).waitFor();
  assert.equal(await heading(/quiet asks you/).count(), 0);
  await button("Refresh").first().click();
  await heading("quiet asks you to confirm a sign-in").waitFor();
  await page.getByText("This request did not ring.").waitFor();
  await page.getByText("quiet says").waitFor();
  await page.getByText("Order <b>").waitFor();
  await page.setViewportSize(SMALL.viewport);
  await fits(page);
  await alwaysInView(page, button("Deny"), button("Not me"));
  await accessible(page, "silent-320");
  await page.setViewportSize(DESKTOP.viewport);
  await accessible(page, "silent-desktop");
  await page.setViewportSize(PHONE.viewport);
  await type(number);
  await button("Approve").click();
  await heading("Approved").waitFor();
  await done();
});

step("a scanned code fills the number in, and a browser that was closed still has its account", async () => {
  const number = await signIn();
  await card();
  const { origin } = new URL(page.url());
  await phone.close();
  const video = join(folder, "camera.y4m");
  writeFileSync(video, film(`countersign:${number.replace(/\D/g, "")}`));
  phone = await withCamera(join(folder, "phone"), video, { ...PHONE, locale: "en-GB" });
  page = phone.pages()[0] ?? (await phone.newPage());
  await page.goto(origin);
  await card();
  await button("Scan").click();
  const field = page.getByLabel("Number on the sign-in page");
  await page.waitForFunction(
    (digits) => document.querySelector<HTMLInputElement>("#number")?.value === digits,
    number.replace(/\D/g, ""),
  );
  assert.equal(await field.inputValue(), number.replace(/\D/g, ""));
  await button("Approve").click();
  await main("approved").waitFor();
  await done();
});

step("a wrong number ends the request, once and for all", async () => {
  const number = await signIn();
  await card();
  await type(other(number));
  await button("Approve").click();
  await main("mismatch").waitFor();
  await heading("That was another number").waitFor();
  await accessible(page, "mismatch");
  await done();
});

step("what is answered elsewhere disappears at once", async () => {
  const from = demo.length;
  await signIn();
  await card();
  // after a wrong number requests don't ring, here or there
  demo.type("p");
  await demo.shows(/digits that your page shows/, from);
  demo.type("d");
  await heading("Nothing is waiting").waitFor();
  await page.getByText("Denied elsewhere: Demo shop").waitFor();
  await main("denied").waitFor();
  await accessible(page, "elsewhere");
  await page.locator(".message", { hasText: "elsewhere" }).getByRole("button").click();
});

step("two windows: the newer one is served, the older one waits for its person", async () => {
  const second = await phone.newPage();
  await second.goto(new URL(page.url()).origin);
  await second.getByText("Connected", { exact: true }).waitFor();
  await page.getByText("demo is open in another window or tab").waitFor();
  await accessible(page, "replaced");
  await signIn();
  await card(second);
  assert.equal(await heading(/asks you/).count(), 0, "the older one did not come back by itself");
  await button("Deny", second).click();
  await main("denied").waitFor();
  await second.close();
  await button("Use it here").click();
  await page.getByText("Connected", { exact: true }).waitFor();
});

step("after a denial a right number is withheld, and a code made offline passes", async () => {
  const number = await signIn();
  await card();
  await type(number);
  await button("Approve").click();
  await heading("One more step").waitFor();
  await page.locator(".code output").filter({ hasText: /^\d{6}$/ }).waitFor();
  await accessible(page, "withheld");
  await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
  await phone.setOffline(true);
  await page.reload();
  await button("Codes").click();
  await heading("Codes").waitFor();
  await page.locator(".code output").filter({ hasText: /^\d{6}$/ }).waitFor();
  await accessible(page, "codes");
  const code = await page.locator(".code output").innerText();
  await phone.setOffline(false);
  // by itself, and soon
  await page.getByText("Connected", { exact: true }).waitFor();
  await desk.getByRole("link", { name: /code/i }).click();
  await desk.getByRole("textbox").fill(code);
  await desk.getByRole("button", { name: "Sign in" }).click();
  await main("approved").waitFor();
  await button("Requests").click();
  await heading("Nothing is waiting").waitFor();
});

step("a code that is none of ours does nothing", async () => {
  const { origin } = new URL(page.url());
  await phone.close();
  const video = join(folder, "evil.y4m");
  writeFileSync(video, film("https://evil.example/countersign:123456"));
  phone = await withCamera(join(folder, "phone"), video, { ...PHONE, locale: "en-GB" });
  page = phone.pages()[0] ?? (await phone.newPage());
  await page.goto(origin);
  await signIn();
  await card();
  await button("Scan").click();
  await page.getByText("This is not a code of a sign-in page.").waitFor();
  await accessible(page, "scan");
  await button("Close").click();
  assert.equal(await page.getByLabel("Number on the sign-in page").inputValue(), "");
  await button("Deny").click();
  await main("denied").waitFor();
  await heading("Denied").waitFor();
  await accessible(page, "denied");
  await done();
});

step("history tells how requests ended, and takes a late \"not me\"", async () => {
  await button("History").click();
  await heading("History").waitFor();
  const approved = page.locator('li[data-outcome="approved"]').first();
  await approved.waitFor();
  await accessible(page, "history");
  await approved.getByRole("button", { name: "Not me" }).click();
  await page.getByRole("dialog").waitFor();
  await accessible(page, "late-report");
  await button("Report it").click();
  await page.getByText("Reported. New requests are treated with more caution.").waitFor();
  await approved.getByText("Reported afterwards").waitFor();
  await page.reload();
  await button("History").click();
  await page.locator('li[data-reported="true"]').first().waitFor();
  assert.equal(await demo.events("late_report"), 1);
});

step("\"not me\" denies and reports", async () => {
  await button("Requests").click();
  await signIn();
  await card();
  await button("Not me").click();
  await heading("Was this not you?").waitFor();
  await accessible(page, "not-me");
  await button("Report it").click();
  await main("reported").waitFor();
  await heading("Denied and reported").waitFor();
  await accessible(page, "reported");
  await done();
});

step("a second account by typed code, compared by fingerprint, and P-256 where Ed25519 lacks", async () => {
  await demo.admin("user", "create", "--name", "bob");
  const ticket = await demo.admin("ticket", "create", "--user", "bob");
  const { origin } = new URL(page.url());
  const old = watch(await browser.newContext({ ...PHONE, locale: "de-DE" }));
  // a browser from before Ed25519 in WebCrypto
  await old.addInitScript(() => {
    const { subtle } = crypto;
    if (!subtle) {
      return;
    }
    const lacking = (of: "generateKey" | "importKey", at: number) => {
      const own = subtle[of].bind(subtle) as any;
      (subtle as any)[of] = (...args: any[]) =>
        args[at]?.name === "Ed25519"
          ? Promise.reject(new DOMException("Unrecognized name.", "NotSupportedError"))
          : own(...args);
    };
    lacking("generateKey", 0);
    lacking("importKey", 2);
  });
  const tab = await old.newPage();
  await tab.goto(origin);
  await heading("Konto hinzufügen", tab).waitFor();
  assert.equal(await tab.locator("html").getAttribute("lang"), "de");
  await accessible(tab, "enrol-de");
  await tab.getByLabel("Benutzername").fill("bob");
  await tab.getByLabel("Code", { exact: true }).fill("nonsense!");
  await button("Mit Code hinzufügen", tab).click();
  await tab.getByText("Der Code hat acht Buchstaben und Ziffern").waitFor();
  await tab.getByLabel("Code", { exact: true }).fill(String(ticket.code).toLowerCase());
  await button("Mit Code hinzufügen", tab).click();
  await heading("Ist das der richtige Server?", tab).waitFor();
  const { fingerprint } = await demo.admin("keys");
  if (fingerprint) {
    await tab.getByText(fingerprint).waitFor();
  }
  await accessible(tab, "fingerprint-de");
  await button("Sie sind gleich", tab).click();
  await heading("Geben Sie die Einrichtungszahl ein", tab).waitFor();
  const { number } = await demo.admin("ticket", "show", ticket.ticket);
  const keypad = tab.getByRole("group", { name: "Ziffernblock" });
  for (const digit of number) {
    await keypad.getByRole("button", { name: digit, exact: true }).click();
  }
  await button("Bestätigen", tab).click();
  await heading("bob ist bereit", tab).waitFor();
  await button("Fertig", tab).click();
  await tab.getByText("Verbunden", { exact: true }).waitFor();
  await button("Konten", tab).click();
  await tab.getByText("P-256, verlässt diesen Browser nicht").waitFor();
  await tab.setViewportSize(SMALL.viewport);
  await fits(tab);
  await accessible(tab, "accounts-de-320");
  await button("Konto hinzufügen", tab).click();
  const { hash } = new URL(await demo.link());
  await tab.getByLabel("Einrichtungslink").fill(`https://other.example/enrol${hash}`);
  await button("Diesen Browser hinzufügen", tab).click();
  await tab.getByText("Dieser Link ist für https://other.example.").waitFor();
  await accessible(tab, "enrol-other-de-320");
  // a link of the server itself leads here, and its fragment comes along
  await demo.admin("user", "create", "--name", "carol");
  const more = await demo.admin("ticket", "create", "--user", "carol", "--no-confirm");
  assert.equal(new URL(more.link).origin, await demo.page());
  await tab.goto(more.link);
  assert.equal(new URL(tab.url()).origin, origin);
  await tab.getByText("Ein Einrichtungslink wurde geöffnet.").waitFor();
  await button("Diesen Browser hinzufügen", tab).click();
  await heading("carol ist bereit", tab).waitFor();
  await button("Fertig", tab).click();
  await tab.getByText("Verbunden", { exact: true }).waitFor();
  await button("Codes", tab).click();
  await tab.locator(".code output").filter({ hasText: /^\d{6}$/ }).nth(1).waitFor();
  const { api_key: key } = await demo.admin("integration", "create", "--name", "Bank", "--verifies-first-factor");
  const answer = await fetch(`${await demo.page()}/v1/challenges`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ user: "name:bob", context: { browser_session: "e2e-p256-browser-session" } }),
  });
  const made = (await answer.json()) as { number: string; id: string };
  await tab.getByText("Eine neue Anfrage von Bank").waitFor();
  await button("Zeigen", tab).click();
  await heading("Bank bittet Sie, eine Anmeldung zu bestätigen", tab).waitFor();
  await tab.getByText("bob", { exact: true }).waitFor();
  await fits(tab);
  await accessible(tab, "request-de-320");
  for (const digit of made.number) {
    await keypad.getByRole("button", { name: digit, exact: true }).click();
  }
  await button("Bestätigen", tab).click();
  await heading("Bestätigt", tab).waitFor();
  const state = await fetch(`${await demo.page()}/v1/challenges/${made.id}`, {
    headers: { authorization: `Bearer ${key}` },
  });
  assert.equal(((await state.json()) as { state: string }).state, "approved");
  await old.close();
});

/** Has the demo's user asked from the nth place. */
async function askFor(key: string, n: number, userAgent: string): Promise<void> {
  const context = { browser_session: `e2e-crowd-session-${n}-of-many`, ip: `100.64.${n}.7`, user_agent: userAgent };
  const answer = await fetch(`${await demo.page()}/v1/challenges`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ user: "name:demo", context, ttl_s: 30 }),
  });
  assert.equal(answer.status, 201);
}

step("of many that don't ring the newest comes first, and is kept while its number is typed", async () => {
  await button("Requests").click();
  await heading("Nothing is waiting").waitFor();
  const shown = await page.locator(".messages .message").count();
  const { api_key: key } = await demo.admin("integration", "create", "--name", "crowd", "--verifies-first-factor");
  const ask = (n: number, userAgent: string): Promise<void> => askFor(key, n, userAgent);
  for (let n = 0; n < 8; n++) {
    await ask(n, "curl/8.0");
  }
  await ask(8, "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0");
  await button("Refresh").first().click();
  await heading("Waiting requests: 9").waitFor();
  const rows = page.locator(".choice button");
  assert.match(await rows.first().innerText(), /Firefox[^]*100\.64\.8\.7/);
  await accessible(page, "many");
  await page.setViewportSize(SMALL.viewport);
  await fits(page);
  await accessible(page, "many-320");
  await page.setViewportSize(PHONE.viewport);
  await rows.first().click();
  await page.getByText("100.64.8.7").waitFor();
  await type("123");
  await ask(9, "curl/8.0");
  await button("Refresh").first().click();
  await button("Others wait too: 9").waitFor();
  await page.getByText("100.64.8.7").waitFor();
  assert.equal(await page.locator("#number").inputValue(), "123");
  // it ends by itself: no other one comes under the fingers, and those that nobody looked at end without a word
  await heading("The request has expired").waitFor({ timeout: 60_000 });
  await page.keyboard.type("456");
  assert.equal(await page.locator("#number").count(), 0);
  await done();
  await heading("Nothing is waiting").waitFor({ timeout: 60_000 });
  assert.equal(await page.locator(".messages .message").count(), shown);
});

step("a revoked device is told so, and can be removed", async () => {
  const devices = await demo.admin("device", "list", "--user", "demo");
  const ours = devices.data.find((device: { name: string }) => device.name === "e2e phone");
  const { api_key: key } = await demo.admin("integration", "create", "--name", "late", "--verifies-first-factor");
  for (const n of [20, 21]) {
    await askFor(key, n, "curl/8.0");
  }
  await button("Refresh").first().click();
  await heading("Waiting requests: 2").waitFor();
  await demo.admin("device", "revoke", ours.device ?? ours.id);
  // what it can't answer any more doesn't wait for anybody
  await heading("Nothing is waiting").waitFor();
  await page.getByText("demo: This device was revoked.").waitFor();
  await accessible(page, "revoked");
  await button("Accounts").click();
  await accessible(page, "accounts");
  await button("Remove").click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await heading("Add an account").waitFor();
  await page.reload();
  await heading("Add an account").waitFor();
});

step("nothing complained, and nobody else was asked", () => {
  assert.deepEqual(complaints, []);
});
