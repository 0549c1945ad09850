/** The hosted sign-in page as people use it, with the web authenticator that answers. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser, BrowserContext, BrowserContextOptions, Locator, Page } from "playwright-core";
import { accessible, complaints, DESKTOP, fits, launch, PHONE, profile, SMALL, shoot, watch } from "./browser.ts";
import { Demo } from "./demo.ts";
import { readCode } from "./picture.ts";
import { FakeEntra, Server, Shop } from "./relying.ts";

let demo: Demo;
let shop: Shop;
let entra: FakeEntra;
let browser: Browser;
/** Where the person signs in. */
let desk: BrowserContext;
let tab: Page;
/** Where they answer. */
let folder: string;
let phone: BrowserContext;
let app: Page;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "countersign-sign-in-"));
  demo = await Demo.start();
  shop = await Shop.open(demo);
  entra = await FakeEntra.start(demo, "demo");
  browser = await launch();
  desk = await open({ ...DESKTOP, locale: "en-GB", permissions: ["clipboard-read", "clipboard-write"] });
  tab = await desk.newPage();
  phone = watch(await profile(join(folder, "phone"), { ...PHONE, locale: "en-GB" }));
  app = phone.pages()[0] ?? (await phone.newPage());
});

after(async () => {
  await phone?.close();
  await browser?.close();
  await entra?.stop();
  shop?.close();
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
      await shoot(app, "failed-sign-in-phone").catch(() => undefined);
      await shoot(tab, "failed-sign-in-page").catch(() => undefined);
      throw error;
    }
  });
}

const open = async (options: BrowserContextOptions) => watch(await browser.newContext(options));
const main = (state: string, on: Page = tab): Locator => on.locator(`main[data-state="${state}"]`);
const button = (name: string | RegExp, on: Page = app): Locator => on.getByRole("button", { name });
const heading = (name: string | RegExp, on: Page = app): Locator => on.getByRole("heading", { name });
const number = (on: Page = tab): Promise<string> => on.locator("#number").innerText();

/** Presses the trial's button. */
async function signIn(on: Page = tab): Promise<void> {
  await on.goto(await demo.page());
  await on.getByRole("main").getByRole("button").click();
  await main("pending", on).waitFor();
}

/** Waits for the card; opens the app, as the page advises, if it doesn't ring. */
async function card(): Promise<void> {
  const asks = heading(/asks you to confirm a sign-in/);
  try {
    await asks.waitFor({ timeout: 3000 });
  } catch {
    await button("Refresh").first().click();
    await asks.waitFor();
  }
}

async function type(digits: string, on: Page = app): Promise<void> {
  const keypad = on.getByRole("group", { name: "Keypad" });
  for (const digit of digits) {
    await keypad.getByRole("button", { name: digit, exact: true }).click();
  }
}

async function approve(digits: string): Promise<void> {
  await card();
  await type(digits);
  await button("Approve").click();
  await heading("Approved").waitFor();
  await button("Done").click();
}

async function denyOnly(): Promise<void> {
  await card();
  await button("Deny").click();
  await heading("Denied").waitFor();
  await button("Done").click();
}

async function deny(): Promise<void> {
  await denyOnly();
  // the next right answer would be withheld
  await demo.admin("user", "clear", "demo", "--reason", "that was a test");
}

step("a browser becomes an authenticator", async () => {
  await app.goto(await demo.link());
  await button("Add this browser").click();
  await type(await demo.number());
  await button("Confirm").click();
  await heading("demo is ready").waitFor();
  await button("Done").click();
  await app.getByText("Connected", { exact: true }).waitFor();
});

step("the page shows the number, in digits, as a code, and for how long", async () => {
  await tab.goto(await demo.page());
  await accessible(tab, "sign-in-start");
  await signIn();
  const digits = await number();
  assert.match(digits, /^\d{6}$/);
  assert.equal(await tab.locator("#number").getAttribute("aria-label"), [...digits].join(" "));
  assert.equal(await readCode(browser, tab.getByRole("img", { name: "QR code of the number" })), `countersign:${digits}`);
  assert.match(await tab.locator("#left").innerText(), /^1:[0-3]\d$/);
  await button("Copy the number", tab).click();
  await tab.getByText("Copied", { exact: true }).waitFor();
  assert.equal(await tab.evaluate(() => navigator.clipboard.readText()), digits);
  await fits(tab);
  await accessible(tab, "sign-in");
  await tab.setViewportSize(SMALL.viewport);
  await fits(tab);
  await accessible(tab, "sign-in-320");
  assert.equal(await readCode(browser, tab.locator("figure svg")), `countersign:${digits}`);
  await tab.setViewportSize(DESKTOP.viewport);
});

step("no other browser is ever shown it", async () => {
  const other = await (await open({ ...DESKTOP, locale: "en-GB" })).newPage();
  await other.goto(tab.url());
  await heading("No sign-in here", other).waitFor();
  assert.equal(await other.locator("#number").count(), 0);
  await accessible(other, "sign-in-gone");
  await other.context().close();
});

step("of two tabs one is answered, and both say so by themselves, at once", async () => {
  const second = await desk.newPage();
  await second.goto(tab.url());
  const digits = await number();
  assert.equal(await number(second), digits);
  let loads = 0;
  tab.on("framenavigated", () => {
    loads += 1;
  });
  await approve(digits);
  await main("approved").waitFor();
  await main("approved", second).waitFor();
  assert.equal(loads, 1, "it left once, and never reloaded itself before");
  tab.removeAllListeners("framenavigated");
  await accessible(tab, "sign-in-approved");
  await second.close();
});

step("a code is pasted, with a space as apps write it", async () => {
  await signIn();
  await tab.getByRole("link", { name: "Use a code instead" }).click();
  const field = tab.getByLabel("Code from your authenticator, or a recovery code");
  assert.equal(await field.getAttribute("autocomplete"), "one-time-code");
  await accessible(tab, "sign-in-code");
  await field.fill("000000");
  await button("Sign in", tab).click();
  await tab.getByText("Code not accepted, open the app.").waitFor();
  await accessible(tab, "sign-in-code-wrong");
  await tab.setViewportSize(SMALL.viewport);
  await fits(tab);
  await tab.setViewportSize(DESKTOP.viewport);
  await button("Codes").click();
  const code = await app.locator(".code output").filter({ hasText: /^\d{6}$/ }).innerText();
  await tab.evaluate((text) => navigator.clipboard.writeText(text), `${code.slice(0, 3)} ${code.slice(3)}`);
  await field.focus();
  await tab.keyboard.press("ControlOrMeta+V");
  await tab.keyboard.press("Enter");
  await main("approved").waitFor();
  await button("Requests").click();
});

step("an answer comes while somebody looks for a code", async () => {
  await signIn();
  const digits = await number();
  await tab.getByRole("link", { name: "Use a code instead" }).click();
  await tab.getByRole("textbox").waitFor();
  await approve(digits);
  await main("approved").waitFor();
});

step("on one phone the number is carried over by copy and paste", async () => {
  await phone.grantPermissions(["clipboard-read", "clipboard-write"]);
  const site = await phone.newPage();
  await signIn(site);
  await button("Copy the number", site).click();
  await site.getByText("Copied", { exact: true }).waitFor();
  await app.bringToFront();
  await card();
  await app.getByLabel("Number on the sign-in page").focus();
  await app.keyboard.press("ControlOrMeta+V");
  await button("Approve").click();
  await heading("Approved").waitFor();
  await button("Done").click();
  await main("approved", site).waitFor();
  await site.close();
});

step("without scripts the page reloads itself", async () => {
  const plain = await open({ ...SMALL, locale: "en-GB", javaScriptEnabled: false });
  const page = await plain.newPage();
  await signIn(page);
  assert.equal(await page.locator("#copy").isVisible(), false);
  assert.match(await page.locator("#left").innerText(), /^about \d0 seconds$/);
  await shoot(page, "sign-in-plain-320").catch(() => undefined);
  await approve(await number(page));
  await main("approved", page).waitFor();
  await plain.close();
});

step("in German, for who prefers it", async () => {
  const german = await open({ ...DESKTOP, locale: "de-DE" });
  const page = await german.newPage();
  await page.goto(await demo.page());
  await accessible(page, "sign-in-start-de");
  await signIn(page);
  assert.equal(await page.locator("html").getAttribute("lang"), "de");
  await heading("Tippen Sie diese Zahl in Ihren Authenticator", page).waitFor();
  await accessible(page, "sign-in-de");
  await page.setViewportSize(SMALL.viewport);
  await fits(page);
  await accessible(page, "sign-in-de-320");
  await page.getByRole("link", { name: "Stattdessen einen Code verwenden" }).click();
  await page.getByRole("textbox").fill("000000");
  await button("Anmelden", page).click();
  await page.getByText("Code nicht angenommen, öffnen Sie die App.").waitFor();
  await fits(page);
  await accessible(page, "sign-in-code-de-320");
  await button("Abbrechen", page).click();
  await main("cancelled", page).waitFor();
  await fits(page);
  await accessible(page, "sign-in-cancelled-de-320");
  await german.close();
});

step("a page of REST leads back once, and the back button sends nothing again", async () => {
  const url = await shop.page("demo");
  await tab.goto(url);
  await main("pending").waitFor();
  await tab.getByText("Signing in to Web shop as demo").waitFor();
  await approve(await number());
  await heading("Back at the shop", tab).waitFor();
  assert.equal(shop.last.times, 1);
  assert.equal(await shop.redeem(null), "403 wrong_session");
  assert.equal(await shop.redeem(), "200");
  await tab.goBack();
  // browsers skip a page that left by itself: whoever still comes there is told
  await tab.goto(url);
  await heading("Approved", tab).waitFor();
  await tab.getByText("This browser was sent on already").waitFor();
  await accessible(tab, "sign-in-sent");
  assert.equal(shop.last.times, 1, "nobody pressed the button");
  await button("Continue to Web shop", tab).click();
  await heading("Back at the shop", tab).waitFor();
  assert.equal(shop.last.times, 2);
  assert.equal(await shop.redeem(), "409 already_redeemed");
});

step("of two tabs of a page of REST one goes back", async () => {
  await tab.goto(await shop.page("demo"));
  const second = await desk.newPage();
  await second.goto(tab.url());
  const before = shop.last.times;
  await approve(await number());
  const back = (on: Page) => heading("Back at the shop", on).waitFor().then(() => on);
  const gone = await Promise.race([back(tab), back(second)]);
  const left = gone === tab ? second : tab;
  await left.getByText("This browser was sent on already").waitFor();
  assert.equal(shop.last.times, before + 1);
  assert.equal(await shop.redeem(), "200");
  await second.close();
});

step("cancelling a page of REST leads back without a code", async () => {
  await tab.goto(await shop.page("demo"));
  await button("Cancel", tab).click();
  await heading("Back at the shop", tab).waitFor();
  assert.equal(shop.last.code, null);
  assert.equal(await shop.redeem(), "409 not_approved");
});

/** From the stand-in's button to the page that waits. */
async function throughEntra(): Promise<void> {
  await tab.goto(entra.url);
  await button(/Sign in as/, tab).click();
  await main("pending").waitFor();
  await tab.getByText("Signing in to Entra as").waitFor();
}

/** What the stand-in makes of the answer. */
async function verdict(ok: boolean, words: RegExp): Promise<void> {
  const told = tab.locator("#verdict");
  await told.waitFor();
  assert.equal(await told.getAttribute("data-ok"), `${ok}`);
  assert.match(await told.innerText(), words);
}

step("Entra: an approval lets in", async () => {
  await tab.goto(entra.url);
  await accessible(tab, "stand-in");
  await throughEntra();
  await accessible(tab, "sign-in-entra");
  await approve(await number());
  await verdict(true, /./);
  await accessible(tab, "stand-in-verdict");
});

step("Entra: cancelling lets nobody in", async () => {
  await throughEntra();
  await button("Cancel", tab).click();
  await verdict(false, /Not let in/);
});

step("Entra: a denial lets nobody in", async () => {
  await throughEntra();
  await deny();
  await verdict(false, /Not let in/);
});

step("Entra: another number lets nobody in, and the person goes back", async () => {
  await throughEntra();
  const digits = await number();
  await card();
  await type(digits === "000000" ? "000001" : "000000");
  await button("Approve").click();
  await heading("That was another number").waitFor();
  await button("Done").click();
  await main("mismatch").waitFor();
  await accessible(tab, "sign-in-mismatch");
  await button("Continue to Entra", tab).click();
  await verdict(false, /Not let in/);
  await demo.admin("user", "clear", "demo", "--reason", "that was a test");
});

step("Entra: a right number that is withheld lets nobody in by itself", async () => {
  await throughEntra();
  await denyOnly();
  await verdict(false, /Not let in/);
  await demo.admin("user", "update", "demo", "--ttl-s", "30");
  await throughEntra();
  await card();
  await type(await number());
  await button("Approve").click();
  await heading("One more step").waitFor();
  assert.equal(await main("pending").count(), 1, "the page says nothing of it");
  await main("expired").waitFor({ timeout: 60_000 });
  await button("Continue to Entra", tab).click();
  await verdict(false, /Not let in/);
  await demo.admin("user", "update", "demo", "--ttl-s", "90");
});

step("Entra: a right number that is withheld lets in with a code beside it", async () => {
  await throughEntra();
  await card();
  await type(await number());
  await button("Approve").click();
  await heading("One more step").waitFor();
  const code = await app.locator(".code output").filter({ hasText: /^\d{6}$/ }).innerText();
  await tab.getByRole("link", { name: "Use a code instead" }).click();
  // a recovery code is nothing that Entra knows
  await tab.getByLabel("Code from your authenticator", { exact: true }).fill(code);
  await button("Sign in", tab).click();
  await verdict(true, /./);
  await demo.admin("user", "clear", "demo", "--reason", "that was a test");
});

step("Entra: nobody answers, and the person goes back", async () => {
  await demo.admin("user", "update", "demo", "--ttl-s", "30");
  await throughEntra();
  assert.match(await tab.locator("#left").innerText(), /^0:[0-3]\d$/);
  await main("expired").waitFor({ timeout: 60_000 });
  await accessible(tab, "sign-in-expired");
  await button("Continue to Entra", tab).click();
  await verdict(false, /Not let in/);
  await demo.admin("user", "update", "demo", "--ttl-s", "90");
});

step("Entra: somebody new makes an authenticator on the way", async () => {
  await demo.admin("user", "create", "--name", "carol");
  const newcomers = await FakeEntra.start(demo, "carol", "Newcomers", ["--inline-enrolment"]);
  const german = await open({ ...SMALL, locale: "de-DE" });
  const page = await german.newPage();
  await page.goto(newcomers.url);
  await button(/Sign in as/, page).click();
  await heading("Richten Sie Ihren Authenticator ein", page).waitFor();
  await fits(page);
  await accessible(page, "enrolling-de-320");
  await button("Abbrechen", page).click();
  await main("not_enrolled", page).waitFor();
  await accessible(page, "enrolling-cancelled-de-320");
  await german.close();

  await tab.goto(newcomers.url);
  await button(/Sign in as/, tab).click();
  await heading("Set up your authenticator", tab).waitFor();
  await fits(tab);
  await accessible(tab, "enrolling");
  const link = (await tab.getByRole("link", { name: "Open the link on this device" }).getAttribute("href")) ?? "";
  assert.equal(await readCode(browser, tab.getByRole("img", { name: "QR code of the enrolment link" })), link);
  const pocket = await open({ ...PHONE, locale: "en-GB" });
  const device = await pocket.newPage();
  await device.goto(link);
  await button("Add this browser", device).click();
  await heading("Type the enrolment number", device).waitFor();
  // the page sees by itself that a device came
  await heading("Type this number on your new authenticator", tab).waitFor();
  assert.equal(await tab.locator("#enrol, #code").count(), 0);
  await fits(tab);
  await accessible(tab, "enrolling-number");
  await type(await number(), device);
  await button("Confirm", device).click();
  await heading("carol is ready", device).waitFor();
  await button("Done", device).click();
  // and that it is one now: the sign-in goes on
  await main("pending").waitFor();
  await heading(/asks you to confirm a sign-in/, device).waitFor();
  await type(await number(), device);
  await button("Approve", device).click();
  await verdict(true, /./);
  await pocket.close();
  await newcomers.stop();
});

step("an enrolment link that a browser opens is drawn for a phone", async () => {
  // where there is no web authenticator that would take it
  const server = await Server.start(folder);
  const link = `${server.url}/enrol#v1.${"a".repeat(22)}.${"B".repeat(43)}`;
  for (const [locale, title, name] of [
    ["en-GB", "This link is for your authenticator", "QR code of the enrolment link"],
    ["de-DE", "Dieser Link ist für Ihren Authenticator", "QR-Code des Einrichtungslinks"],
  ] as const) {
    const context = await open({ ...DESKTOP, locale });
    const page = await context.newPage();
    await page.goto(link);
    await heading(title, page).waitFor();
    assert.equal(await readCode(browser, page.getByRole("img", { name })), link);
    await accessible(page, `enrol-page-${locale.slice(0, 2)}`);
    await page.setViewportSize(SMALL.viewport);
    await fits(page);
    await accessible(page, `enrol-page-${locale.slice(0, 2)}-320`);
    await page.goto(`${server.url}/enrol`);
    await page.reload();
    assert.equal(await page.getByRole("img", { name }).count(), 0, "no link, no code");
    await context.close();
  }
  await server.stop();
});

step("no page complained, and nobody else was asked", () => {
  assert.deepEqual(complaints, []);
});
