// The same requests to two CIBA providers, this server and oidc-provider: both must answer the same error codes.
// Prints {"ok": name} for what held.

import assert from "node:assert/strict";
import { once } from "node:events";

// its advice to operators would be taken for lines of ours
console.info = console.log = console.warn = console.error;
const { Provider } = await import("oidc-provider");
const { ISSUER, CLIENT_ID, CLIENT_SECRET, LOGIN } = process.env;
const GRANT = "urn:openid:params:grant-type:ciba";
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const other = new Provider("http://127.0.0.1", {
  clients: [{
    client_id: CLIENT_ID, client_secret: CLIENT_SECRET, grant_types: [GRANT, "authorization_code"],
    redirect_uris: ["https://rp.example/cb"], backchannel_token_delivery_mode: "poll",
  }, {
    client_id: "other", client_secret: CLIENT_SECRET, redirect_uris: ["https://rp.example/cb"],
  }],
  findAccount: (_, id) => (id === LOGIN ? { accountId: id, claims: () => ({ sub: id }) } : undefined),
  features: {
    devInteractions: { enabled: false },
    ciba: {
      enabled: true,
      deliveryModes: ["poll"],
      processLoginHint: async (_, hint) => hint,
      processLoginHintToken: async () => undefined,
      verifyUserCode: async () => {},
      validateRequestContext: async () => {},
      triggerAuthenticationDevice: async () => {},
    },
  },
});
other.on("server_error", (_, error) => console.error(error));
const listening = other.listen(0, "127.0.0.1");
await once(listening, "listening");
const stranger = `http://127.0.0.1:${listening.address().port}`;

async function post(url, fields, [id, secret] = [CLIENT_ID, CLIENT_SECRET]) {
  const basic = btoa(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`);
  const headers = { "content-type": "application/x-www-form-urlencoded", authorization: `Basic ${basic}` };
  const reply = await fetch(url, { method: "POST", headers, body: new URLSearchParams(fields) });
  return { status: reply.status, ...(await reply.json()) };
}

// What both say of one request.
async function both(name, [ours, theirs], fields, client) {
  const [mine, its] = await Promise.all([
    post(`${ISSUER}${ours}`, fields, client), post(`${stranger}${theirs}`, fields, client),
  ]);
  assert.deepEqual([mine.status, mine.error], [its.status, its.error], `${name}: ${JSON.stringify([mine, its])}`);
  return [mine, its];
}

const ASK = ["/oidc/bc-authorize", "/backchannel"];
const TOKEN = ["/oidc/token", "/token"];
const good = { scope: "openid", login_hint: LOGIN };
const without = (name) => Object.fromEntries(Object.entries(good).filter(([key]) => key !== name));
const bad = {
  "no hint": without("login_hint"),
  "two hints": { ...good, id_token_hint: "x.y.z" },
  "three hints": { ...good, id_token_hint: "x.y.z", login_hint_token: "x" },
  "no scope": without("scope"),
  "an id token that isn't one": { ...without("login_hint"), id_token_hint: "x.y.z" },
  "an expiry that isn't one": { ...good, requested_expiry: "soon" },
  "a negative expiry": { ...good, requested_expiry: "-1" },
  "no time at all": { ...good, requested_expiry: "0" },
  "a long binding message": { ...good, binding_message: "x".repeat(30) },
  "an unknown user": { ...good, login_hint: "nobody" },
};
for (const [name, fields] of Object.entries(bad)) {
  await both(name, ASK, fields);
}
say({ ok: "the same errors of bad requests" });

// without any client it says invalid_request; RFC 6749 5.2 has invalid_client for that
await both("a wrong secret", ASK, good, [CLIENT_ID, "wrong"]);
await both("an unknown client", ASK, good, ["nobody", "wrong"]);
say({ ok: "the same errors of bad clients" });

const given = await both("a good request", ASK, { ...good, binding_message: "1234" });
for (const one of given) assert.ok(one.auth_req_id && one.expires_in > 0);
const poll = (id) => ({ grant_type: GRANT, auth_req_id: id });
const early = await Promise.all([
  post(`${ISSUER}${TOKEN[0]}`, poll(given[0].auth_req_id)),
  post(`${stranger}${TOKEN[1]}`, poll(given[1].auth_req_id)),
]);
assert.deepEqual(early.map((one) => [one.status, one.error]), [[400, "authorization_pending"], [400, "authorization_pending"]]);
await both("no id", TOKEN, { grant_type: GRANT });
await both("an unknown id", TOKEN, poll("nothing"));
await both("a grant type that nobody knows", TOKEN, { grant_type: "x" });
say({ ok: "the same errors of polls" });
listening.close();
