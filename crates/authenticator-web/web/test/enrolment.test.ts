/** An enrolment, against a server's half. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Bytes } from "../src/core/bytes.ts";
import type { Wire } from "../src/core/connection.ts";
import * as device from "../src/core/device.ts";
import { Enrolment, type EnrolEvent, enrolError } from "../src/core/enrolment.ts";
import { CLOSE } from "../src/core/hello.ts";
import { fingerprint, generateKey, ED25519, P256, sign, verifies } from "../src/core/keys.ts";
import * as statements from "../src/core/statements.ts";
import type { Ticket } from "../src/core/ticket.ts";
import { decode, type Value } from "../src/core/wire.ts";
import { bytes, DEVICE, FakeServer, NONCE, serverFrame, TENANT } from "./support.ts";

type Frame = Value<typeof device.ClientFrame>["frame"];

const SECRET = bytes(16, 22);
const PENDING = serverFrame({ case: "enrolPending", value: { digits: 6 } });
const TOTP = { secret: bytes(20, 1), algorithm: "SHA1", digits: 6, periodS: 30 };

function enrolled(): Bytes {
  const value = { tenant: TENANT, device: DEVICE, user: "alice", organisation: "", totp: TOTP };
  return serverFrame({ case: "enrolled", value });
}

async function world(ticket: (server: FakeServer) => Ticket, algorithm: 1 | 2 = ED25519) {
  const server = await FakeServer.make();
  const key = await generateKey([algorithm]);
  const events: EnrolEvent[] = [];
  const sent: Frame[] = [];
  const closed: number[] = [];
  const wire: Wire = {
    send: (frame) => sent.push(decode(device.ClientFrame, frame).frame),
    close: (code) => closed.push(code),
  };
  const named = { name: "a phone\u202e", agent: "test" };
  const enrolment = new Enrolment(ticket(server), key, named, (event) => events.push(event));
  const give = async (...frames: Bytes[]) => {
    for (const frame of frames) {
      enrolment.onFrame(frame);
    }
    await enrolment.idle();
  };
  return { server, key, enrolment, events, sent, closed, wire, give };
}

const byLink = (server: FakeServer): Ticket => ({
  kind: "link",
  server: "https://mfa.example.org",
  secret: SECRET,
  identity: server.hash,
});
const byCode = (): Ticket => ({
  kind: "code",
  server: "https://mfa.example.org",
  user: " alice ",
  code: bytes(5, 0xaa),
});

for (const algorithm of [ED25519, P256] as const) {
  test(`a link, a number, an account, with algorithm ${algorithm}`, async () => {
    const { server, key, enrolment, events, sent, give, wire } = await world(byLink, algorithm);
    assert.equal(key.privateKey.extractable, false);
    await assert.rejects(crypto.subtle.exportKey("pkcs8", key.privateKey));
    enrolment.open(wire);
    await give(await server.hello());
    const own = { algorithm, bytes: key.publicKey };
    const ticket = await statements.ticketSecretHash(SECRET);
    const identity = server.hash;
    const claim = statements.claim({ ticket, identity, nonce: NONCE, key: own });
    const [, claimed] = sent;
    assert.ok(claimed?.case === "enrolClaim");
    assert.deepEqual(claimed.value.proof, { case: "secret", value: SECRET });
    assert.equal(claimed.value.algorithm, algorithm);
    assert.equal(claimed.value.deviceName, "a phone");
    assert.ok(await verifies(own, claimed.value.signature, claim));
    await give(PENDING);
    assert.deepEqual(events, [{ type: "number", digits: 6 }]);
    assert.equal(enrolment.confirmNumber("12345"), false);
    assert.equal(enrolment.confirmNumber("123 456"), true);
    await give(enrolled());
    const confirmed = sent[2];
    assert.ok(confirmed?.case === "enrolConfirm");
    const statement = statements.confirm(ticket, NONCE, "123456");
    assert.ok(await verifies(own, confirmed.value.signature, statement));
    const done = events[1];
    assert.ok(done?.type === "enrolled");
    assert.deepEqual(done.account.identity, server.hash);
    assert.equal(done.account.user, "alice");
  });
}

test("a code names no server: the person compares before anything is claimed", async () => {
  const { server, enrolment, events, sent, closed, give, wire } = await world(byCode);
  enrolment.open(wire);
  await give(await server.hello());
  const shown = fingerprint(server.hash);
  assert.deepEqual(events, [{ type: "confirm_server", fingerprint: shown }]);
  assert.deepEqual(sent.map((frame) => frame.case), ["hello"]);
  assert.deepEqual(closed, [CLOSE.normal]);
  enrolment.confirmServer();
  enrolment.open(wire);
  await give(await server.hello());
  const claimed = sent.at(-1);
  assert.ok(claimed?.case === "enrolClaim");
  const code = { user: "alice", code: "NANANANA" };
  assert.deepEqual(claimed.value.proof, { case: "code", value: code });
});

test("another server than the confirmed one gets nothing", async () => {
  const { server, enrolment, events, sent, give, wire } = await world(byCode);
  enrolment.open(wire);
  await give(await server.hello());
  enrolment.confirmServer();
  enrolment.open(wire);
  await give(await (await FakeServer.make()).hello());
  assert.deepEqual(events.at(-1), { type: "fault", fault: "wrong_server" });
  assert.ok(!sent.some((frame) => frame.case === "enrolClaim"));
});

test("no number is asked for where none is wanted, and a device can't be enrolled out of turn", async () => {
  const { server, enrolment, events, sent, give, wire } = await world(byLink);
  enrolment.open(wire);
  await give(await server.hello(), serverFrame({ case: "enrolPending", value: { digits: 0 } }));
  assert.equal(sent.at(-1)?.case, "enrolConfirm");
  await give(enrolled());
  assert.equal(events.at(-1)?.type, "enrolled");

  const early = await world(byLink);
  early.enrolment.open(early.wire);
  await early.give(await early.server.hello(), enrolled());
  assert.deepEqual(early.events, [{ type: "fault", fault: "malformed" }]);
});

test("a signature for one purpose is worth nothing for another", async () => {
  const key = await generateKey([ED25519]);
  const own = { algorithm: key.algorithm, bytes: key.publicKey };
  const ticket = bytes(32, 1);
  const claim = statements.claim({ ticket, identity: bytes(32, 2), nonce: NONCE, key: own });
  const signature = await sign(key, claim);
  assert.ok(await verifies(own, signature, claim));
  assert.ok(!(await verifies(own, signature, statements.confirm(ticket, NONCE, ""))));
});

test("what a close means", () => {
  const meanings = [CLOSE.ticket, CLOSE.version, CLOSE.tooMany, CLOSE.unavailable, 1012, 4401];
  const words = ["ticket", "version", "too_many", "unavailable", "unavailable", "refused"];
  assert.deepEqual(meanings.map(enrolError), words);
  assert.equal(enrolError(undefined), "lost");
  assert.equal(enrolError(CLOSE.deadline), "lost");
});
