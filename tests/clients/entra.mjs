// openid-client in Entra's place: an implicit id_token by form_post, checked as a relying party does.
// Prints {"approve": number} where a person has to type it, and {"ok": name} for what held.

import assert from "node:assert/strict";
import * as client from "openid-client";
import { Browser, number, sent } from "./browser.mjs";

const { ISSUER, CLIENT_ID, FIELDS, SUB } = process.env;
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const fields = new URLSearchParams(JSON.parse(FIELDS));

const config = await client.discovery(
  new URL(ISSUER), CLIENT_ID, undefined, client.None(), { execute: [client.allowInsecureRequests] },
);
client.useIdTokenResponseType(config);
const browser = new Browser(new URL(ISSUER).origin);
const endpoint = config.serverMetadata().authorization_endpoint;
const page = await browser.open(endpoint, { method: "POST", fields, site: "cross-site" });
say({ approve: number(page) });
const form = await browser.leaves(page);
assert.equal(form.action, fields.get("redirect_uri"));
const claims = await client.implicitAuthentication(config, sent(form), fields.get("nonce"), {
  expectedState: fields.get("state"),
});
assert.equal(claims.sub, SUB);
assert.equal(claims.acr, "possessionorinherence");
assert.deepEqual(claims.amr, ["swk"]);
say({ ok: "openid-client: implicit id_token by form_post" });
