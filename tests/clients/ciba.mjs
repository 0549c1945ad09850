// CIBA clients that nobody here wrote, against a running server: openid-client and its core, oauth4webapi.
// Prints {"approve": number} where a person has to type it, and {"ok": name} for what held.

import assert from "node:assert/strict";
import * as core from "oauth4webapi";
import * as client from "openid-client";

const { ISSUER, CLIENT_ID, CLIENT_SECRET, CLIENT_JWK, LOGIN } = process.env;
const CLAIM = "urn:openid:params:jwt:claim:auth_req_id";
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const insecure = { execute: [client.allowInsecureRequests] };
const jwk = JSON.parse(CLIENT_JWK);
const key = {
  key: await crypto.subtle.importKey("jwk", jwk, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]),
  kid: jwk.kid,
};
const issuer = new URL(ISSUER);

async function polls(config, parameters, name) {
  const given = await client.initiateBackchannelAuthentication(config, parameters);
  assert.match(given.number, /^\d{6}$/);
  const polling = client.pollBackchannelAuthenticationGrant(config, given);
  say({ approve: given.number });
  const tokens = await polling;
  const claims = tokens.claims();
  assert.equal(claims[CLAIM], given.auth_req_id);
  assert.deepEqual(claims.amr, ["swk", "pop", "user"]);
  const who = await client.fetchUserInfo(config, tokens.access_token, claims.sub);
  assert.equal(who.preferred_username, LOGIN);
  await assert.rejects(
    client.pollBackchannelAuthenticationGrant(config, { ...given, interval: 0.01 }),
    { error: "invalid_grant" },
  );
  say({ ok: name });
  return tokens;
}

const basic = await client.discovery(
  issuer, CLIENT_ID, undefined, client.ClientSecretBasic(CLIENT_SECRET), insecure,
);
client.enableNonRepudiationChecks(basic);
const signing = await client.discovery(issuer, CLIENT_ID, undefined, client.PrivateKeyJwt(key), insecure);

const tokens = await polls(
  basic, { scope: "openid", login_hint: LOGIN, binding_message: "W4SCT" },
  "openid-client: login_hint, client_secret_basic",
);
await polls(
  signing, { scope: "openid", id_token_hint: tokens.id_token, requested_expiry: "120" },
  "openid-client: id_token_hint, private_key_jwt",
);
{
  const insecure = { [core.allowInsecureRequests]: true };
  const found = await core.discoveryRequest(issuer, { ...insecure, algorithm: "oidc" });
  const server = await core.processDiscoveryResponse(issuer, found);
  const rp = { client_id: CLIENT_ID };
  const auth = core.ClientSecretBasic(CLIENT_SECRET);
  const given = await core.processBackchannelAuthenticationResponse(
    server, rp,
    await core.backchannelAuthenticationRequest(
      server, rp, auth, { scope: "openid", login_hint: LOGIN }, insecure,
    ),
  );
  const fetch = () => core.backchannelAuthenticationGrantRequest(server, rp, auth, given.auth_req_id, insecure);
  await assert.rejects(
    core.processBackchannelAuthenticationGrantResponse(server, rp, await fetch()),
    { error: "authorization_pending" },
  );
  say({ approve: given.number });
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, given.interval * 1000));
    const reply = await fetch();
    if (reply.status === 400) {
      assert.equal((await reply.json()).error, "authorization_pending");
      continue;
    }
    const tokens = await core.processBackchannelAuthenticationGrantResponse(server, rp, reply);
    await core.validateApplicationLevelSignature(server, reply, insecure);
    assert.equal(core.getValidatedIdTokenClaims(tokens)[CLAIM], given.auth_req_id);
    break;
  }
  say({ ok: "oauth4webapi: polled, signature against the published keys" });
}
say({ done: true });
