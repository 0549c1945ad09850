/** The vectors of proto/vectors, read as a device reads them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { fromHex, sha256, toBase64Url, toHex, utf8 } from "../src/core/bytes.ts";
import { checkHello } from "../src/core/hello.ts";
import { ED25519, fingerprint, identityHash, P256, sign, verifies } from "../src/core/keys.ts";
import { typedNumber } from "../src/core/number.ts";
import * as device from "../src/core/device.ts";
import * as statements from "../src/core/statements.ts";
import { readCode, readLink, writeCode } from "../src/core/ticket.ts";
import { importTotp, totpCode } from "../src/core/totp.ts";
import { decode, encode } from "../src/core/wire.ts";
import { gateway } from "../src/io/socket.ts";
import { keyOf, vectors } from "./support.ts";

test("answers are signed to the byte", async () => {
  const file = vectors("answer");
  const key = await keyOf(fromHex(file.device_seed), fromHex(file.device_public_key));
  const challenge = await sha256(fromHex(file.challenge));
  assert.equal(toHex(challenge), file.challenge_sha256);
  assert.ok(file.cases.length >= 4);
  for (const { decision, number, user_verified, counter, signed_bytes, signature } of file.cases) {
    const signed = statements.answer({
      challenge,
      device: fromHex(file.device),
      decision,
      number,
      userVerified: user_verified,
      counter: BigInt(counter),
    });
    assert.equal(toHex(signed), signed_bytes);
    assert.equal(toHex(await sign(key, signed)), signature);
  }
});

test("an answer of a P-256 device verifies, and no other does", async () => {
  const file = vectors("answer_p256");
  const key = { algorithm: P256, bytes: fromHex(file.device_public_key) } as const;
  const of = async (counter: bigint) =>
    statements.answer({
      challenge: await sha256(fromHex(file.challenge)),
      device: fromHex(file.device),
      decision: file.decision,
      number: file.number,
      userVerified: file.user_verified,
      counter,
    });
  const signature = fromHex(file.signature);
  assert.ok(await verifies(key, signature, await of(BigInt(file.counter))));
  assert.ok(!(await verifies(key, signature, await of(BigInt(file.counter) + 1n))));
});

test("a login's statement and both frames", async () => {
  const file = vectors("login");
  const key = await keyOf(fromHex(file.device_seed), fromHex(file.device_public_key));
  const { frame } = decode(device.ServerFrame, fromHex(file.server_hello_frame));
  assert.ok(frame.case === "hello");
  const pinned = fromHex(file.server_identity_hash);
  const hello = await checkHello(frame.value, pinned);
  assert.equal(toHex(hello.nonce), file.nonce);
  assert.equal(hello.keys.length, 1);
  assert.ok(hello.keys[0]);
  const [tenant, id] = [fromHex(file.tenant), fromHex(file.device)];
  const signed = statements.login({ identity: pinned, tenant, device: id, nonce: hello.nonce });
  assert.equal(toHex(signed), file.signed_bytes);
  const signature = await sign(key, signed);
  assert.equal(toHex(signature), file.signature);
  const value = { tenant, device: id, signature };
  const login = encode(device.ClientFrame, { frame: { case: "login", value } });
  assert.equal(toHex(login), file.login_frame);
});

test("claims and confirmations by link and by code", async () => {
  const file = vectors("enrolment");
  const publicKey = fromHex(file.device_public_key);
  const key = await keyOf(fromHex(file.device_seed), publicKey);
  const nonce = fromHex(file.nonce);
  const identity = fromHex(file.server_identity_hash);
  const proofs = new Set<string>();
  for (const given of file.cases) {
    const { secret, user, typed, code, code_bytes } = given.proof;
    let ticket: Awaited<ReturnType<typeof statements.ticketSecretHash>>;
    if (secret) {
      ticket = await statements.ticketSecretHash(fromHex(secret));
    } else {
      const read = readCode(typed);
      assert.ok(read);
      assert.equal(toHex(read), code_bytes);
      assert.equal(writeCode(read), code);
      ticket = await statements.ticketCodeHash(user, read);
    }
    proofs.add(Object.keys(given.proof).join());
    assert.equal(toHex(ticket), given.ticket_hash);
    const claim = statements.claim({
      ticket,
      identity,
      nonce,
      key: { algorithm: ED25519, bytes: publicKey },
    });
    assert.equal(toHex(claim), given.claim_signed_bytes);
    assert.equal(toHex(await sign(key, claim)), given.claim_signature);
    const confirm = statements.confirm(ticket, nonce, given.number);
    assert.equal(toHex(confirm), given.confirm_signed_bytes);
    assert.equal(toHex(await sign(key, confirm)), given.confirm_signature);
  }
  assert.equal(proofs.size, 2);
});

test("a server's keys: hash, fingerprint, certificate, challenge", async () => {
  const file = vectors("server_keys");
  const identity = { algorithm: ED25519, bytes: fromHex(file.identity_public_key) } as const;
  const hash = await identityHash(identity);
  assert.equal(toHex(hash), file.identity_hash);
  assert.equal(fingerprint(hash), file.identity_fingerprint);
  const { public_key, not_before_ms, not_after_ms, signed_bytes, signature } = file.certificate;
  const certified = { algorithm: ED25519, bytes: fromHex(public_key) } as const;
  const signed = statements.certificate(certified, BigInt(not_before_ms), BigInt(not_after_ms));
  assert.equal(toHex(signed), signed_bytes);
  assert.ok(await verifies(identity, fromHex(signature), signed));
  const challenge = statements.challenge(fromHex(file.challenge.bytes));
  assert.equal(toHex(challenge), file.challenge.signed_bytes);
  assert.ok(await verifies(certified, fromHex(file.challenge.signature), challenge));
  assert.ok(!(await verifies(identity, fromHex(file.challenge.signature), challenge)));
});

test("what a person may type, and what it becomes", () => {
  const file = vectors("number");
  for (const { typed, number } of file.accepted) {
    assert.equal(typedNumber(typed, file.digits), number, JSON.stringify(typed));
  }
  for (const typed of file.refused) {
    assert.equal(typedNumber(typed, file.digits), undefined, JSON.stringify(typed));
  }
});

test("time-based codes", async () => {
  const file = vectors("totp");
  const { algorithm, digits, period_s: periodS } = file;
  const given = fromHex(file.secret);
  const totp = await importTotp({ secret: given, algorithm, digits, periodS });
  assert.ok(totp);
  assert.ok(given.every((byte) => byte === 0), "the secret is wiped once it is a key");
  assert.equal(totp.key.extractable, false);
  for (const { code, step, unix_s } of file.cases) {
    const made = await totpCode(totp, unix_s);
    assert.equal(made.digits, code);
    assert.equal(made.secondsLeft, (step + 1) * periodS - unix_s);
  }
  const secret = fromHex(file.secret);
  assert.equal(await importTotp({ secret, algorithm: "SHA256", digits, periodS }), undefined);
  const short = utf8("too short");
  assert.equal(await importTotp({ secret: short, algorithm, digits, periodS }), undefined);
});

test("links that are read, and links that are refused", () => {
  const file = vectors("link");
  for (const { link, server, secret, server_identity_hash, gateway: socket } of file.accepted) {
    const read = readLink(`  ${link}\n`);
    assert.ok(read, link);
    assert.equal(read.server, server);
    assert.equal(toHex(read.secret), secret);
    assert.equal(toHex(read.identity), server_identity_hash);
    assert.equal(gateway(read.server), socket);
    assert.ok(link.includes(toBase64Url(read.secret)));
  }
  for (const link of file.refused) {
    assert.equal(readLink(link), undefined, link);
  }
  const whole = file.accepted[0].link;
  for (let length = 0; length < whole.length; length++) {
    assert.equal(readLink(whole.slice(0, length)), undefined, String(length));
  }
});
