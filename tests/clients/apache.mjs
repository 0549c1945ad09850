// Debian's mod_auth_openidc as a relying party. It names nobody, so the page asks and nobody is rung.
// Prints {"open": number} where a person has to open their app and type it, and {"ok": name} for what held.

import assert from "node:assert/strict";
import { Browser, number, sent } from "./browser.mjs";

const { ISSUER, RP, LOGIN } = process.env;
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const rp = new Browser(RP);
const op = new Browser(ISSUER);
const { leftTo } = await rp.open("/secure/");
assert.equal(leftTo.origin, ISSUER);
assert.equal(leftTo.searchParams.get("code_challenge_method"), "S256");
const asked = await op.open(leftTo);
assert.match(asked.text, /data-state="unnamed"/);
const page = await op.press(`${asked.at.pathname}/name`, { user: LOGIN });
say({ open: number(page) });
const form = await op.leaves(page);
const inside = await rp.open(sent(form));
assert.equal(inside.status, 200, inside.text);
assert.match(inside.text, /inside/);
say({ ok: "mod_auth_openidc: code with PKCE" });
const { leftTo: back } = await new Browser(RP).open("/secure/?prompt=none");
assert.equal(back.origin, ISSUER, "another browser is not let in");
say({ ok: "mod_auth_openidc: another browser is sent here" });
