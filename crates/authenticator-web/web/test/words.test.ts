/** The catalogues, and what foreign text becomes. */

import assert from "node:assert/strict";
import { test } from "node:test";
import de from "../src/i18n/de.json" with { type: "json" };
import en from "../src/i18n/en.json" with { type: "json" };
import { chooseLanguage, wordsOf } from "../src/i18n/index.ts";
import { Backoff } from "../src/core/backoff.ts";
import { scannedNumber } from "../src/core/number.ts";
import { plain } from "../src/core/text.ts";
import { deviceName } from "../src/io/device.ts";

test("both languages say the same things with the same values", () => {
  assert.deepEqual(Object.keys(de), Object.keys(en));
  const values = (text: string) => Array.from(text.matchAll(/\{\w+\}/g), ([value]) => value).sort();
  for (const key of Object.keys(en) as (keyof typeof en)[]) {
    assert.deepEqual(values(de[key]), values(en[key]), key);
    assert.ok(de[key].trim() !== "" && !/[<>]/.test(de[key] + en[key]), key);
  }
});

test("the person's choice, then the browser's languages, then English", () => {
  assert.equal(chooseLanguage("de", ["en"]), "de");
  assert.equal(chooseLanguage("xx", ["fr-FR", "de-AT", "en"]), "de");
  assert.equal(chooseLanguage(undefined, ["fr"]), "en");
  assert.equal(chooseLanguage("toString", []), "en");
  assert.equal(wordsOf("de")("card.left", { seconds: 7 }), "noch 7 s");
  assert.equal(wordsOf("en")("card.says", { name: "$& {name}" }), "$& {name} says");
});

test("nothing that moves the eye survives", () => {
  assert.equal(plain("a\u001b[2Jb\r\nc\u0007", 99), "a[2Jb  c");
  assert.equal(plain("\u202edrow\u2066ssap\u200b", 99), "drowssap");
  assert.equal(plain("  Zürich 東京  ", 99), "Zürich 東京");
  assert.equal(plain("abcdef", 3), "abc");
  assert.equal(plain("👍👍👍", 2), "👍👍");
});

test("a scanned code is a number of a sign-in page or nothing", () => {
  assert.equal(scannedNumber("countersign:042137", 6), "042137");
  for (const text of [
    "042137",
    "countersign:04213",
    "countersign:0421377",
    "COUNTERSIGN:042137",
    "countersign://042137",
    "https://evil.example/?countersign:042137",
    "countersign:042137#x",
    "countersign:",
  ]) {
    assert.equal(scannedNumber(text, 6), undefined, text);
  }
});

test("waits are uniform below a bound that doubles", () => {
  const backoff = new Backoff();
  for (const bound of [1000, 2000, 4000, 8000]) {
    assert.equal(backoff.next(0, () => 0.5), bound / 2);
  }
  assert.equal(backoff.next(1e9, () => 0), 300_000);
  assert.equal(backoff.next(2000, () => 1), 6000);
  backoff.reset();
  assert.equal(backoff.next(0, () => 1), 1000);
});

test("a device's first name", () => {
  const chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0 Safari/537.36";
  assert.equal(deviceName(chrome), "Chrome on Linux");
  assert.equal(deviceName("Mozilla/5.0 (iPhone) AppleWebKit/605 Version/19.0 Safari/604"), "Safari on iPhone");
  assert.equal(deviceName(""), "Browser");
});
