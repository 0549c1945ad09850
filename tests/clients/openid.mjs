// Relying parties that nobody here wrote, against a running server: openid-client and its core, oauth4webapi.
// Prints {"approve": number} where a person has to type it, and {"ok": name} for what held.

import assert from "node:assert/strict";
import * as core from "oauth4webapi";
import * as client from "openid-client";
import { Browser, number, sent } from "./browser.mjs";

const { ISSUER, CLIENT_ID, CLIENT_SECRET, CLIENT_JWK, REDIRECT, LOGIN } = process.env;
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const insecure = { execute: [client.allowInsecureRequests] };
const jwk = JSON.parse(CLIENT_JWK);
const key = {
  key: await crypto.subtle.importKey("jwk", jwk, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]),
  kid: jwk.kid,
};

async function signIn(url) {
  const browser = new Browser(ISSUER);
  const page = await browser.open(url);
  say({ approve: number(page) });
  return sent(await browser.leaves(page));
}

const request = async (more = {}) => {
  const verifier = client.randomPKCECodeVerifier();
  const state = client.randomState();
  const nonce = client.randomNonce();
  const parameters = {
    redirect_uri: REDIRECT,
    scope: "openid",
    login_hint: LOGIN,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    state,
    nonce,
    ...more,
  };
  const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce };
  return { parameters, checks };
};

async function signsIn(config, url, checks, more = {}) {
  const answer = await signIn(url);
  const again = answer instanceof Request ? answer.clone() : answer;
  const tokens = await client.authorizationCodeGrant(config, answer, { ...checks, ...more });
  const claims = tokens.claims();
  assert.deepEqual(claims.amr, ["swk", "pop", "user"]);
  assert.equal(claims.acr, "urn:countersign:acr:number-match");
  const who = await client.fetchUserInfo(config, tokens.access_token, claims.sub);
  assert.equal(who.preferred_username, LOGIN);
  assert.equal(tokens.refresh_token, undefined);
  await assert.rejects(
    client.authorizationCodeGrant(config, again, { ...checks, ...more }),
    { error: "invalid_grant" },
  );
}

const issuer = new URL(ISSUER);
const basic = await client.discovery(
  issuer, CLIENT_ID, undefined, client.ClientSecretBasic(CLIENT_SECRET), insecure,
);
client.enableNonRepudiationChecks(basic);
const signing = await client.discovery(issuer, CLIENT_ID, undefined, client.PrivateKeyJwt(key), insecure);

{
  const { parameters, checks } = await request({ max_age: "600" });
  const url = await client.buildAuthorizationUrlWithPAR(basic, parameters);
  await signsIn(basic, url, checks, { maxAge: 600 });
  say({ ok: "openid-client: pushed, client_secret_basic" });
}
{
  const { parameters, checks } = await request({ response_mode: "form_post" });
  const url = await client.buildAuthorizationUrlWithPAR(signing, parameters);
  await signsIn(signing, url, checks);
  say({ ok: "openid-client: pushed, private_key_jwt, form_post" });
}
{
  const { parameters, checks } = await request();
  const url = await client.buildAuthorizationUrlWithJAR(signing, parameters, key);
  await signsIn(signing, url, checks);
  say({ ok: "openid-client: signed request object" });
}
{
  const { parameters, checks } = await request({ prompt: "none" });
  const { leftTo } = await new Browser(ISSUER).open(client.buildAuthorizationUrl(basic, parameters));
  await assert.rejects(client.authorizationCodeGrant(basic, leftTo, checks), { error: "login_required" });
  say({ ok: "openid-client: prompt=none" });
}
{
  const insecure = { [core.allowInsecureRequests]: true };
  const found = await core.discoveryRequest(issuer, { ...insecure, algorithm: "oidc" });
  const server = await core.processDiscoveryResponse(issuer, found);
  const rp = { client_id: CLIENT_ID };
  const auth = core.ClientSecretBasic(CLIENT_SECRET);
  const { parameters, checks } = await request();
  const pushed = await core.processPushedAuthorizationResponse(
    server, rp,
    await core.pushedAuthorizationRequest(server, rp, auth, { response_type: "code", ...parameters }, insecure),
  );
  const url = new URL(server.authorization_endpoint);
  url.search = new URLSearchParams({ client_id: CLIENT_ID, request_uri: pushed.request_uri });
  const answer = core.validateAuthResponse(server, rp, await signIn(url), checks.expectedState);
  const reply = await core.authorizationCodeGrantRequest(
    server, rp, auth, answer, REDIRECT, checks.pkceCodeVerifier, insecure,
  );
  const tokens = await core.processAuthorizationCodeResponse(server, rp, reply, {
    expectedNonce: checks.expectedNonce, requireIdToken: true,
  });
  await core.validateApplicationLevelSignature(server, reply, insecure);
  const info = await core.userInfoRequest(server, rp, tokens.access_token, insecure);
  const { sub } = core.getValidatedIdTokenClaims(tokens);
  await core.processUserInfoResponse(server, rp, sub, info);
  say({ ok: "oauth4webapi: pushed, signature against the published keys" });
}
say({ done: true });
