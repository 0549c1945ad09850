/** The connection of an account, against a server's half and on time of its own. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { CAP_MS } from "../src/core/backoff.ts";
import { type Bytes, sha256, toHex } from "../src/core/bytes.ts";
import { Connection, MAX_CARDS, StorageFault, type Wire } from "../src/core/connection.ts";
import * as device from "../src/core/device.ts";
import type { ConnectionEvent } from "../src/core/event.ts";
import { CLOSE } from "../src/core/hello.ts";
import { verifies } from "../src/core/keys.ts";
import * as statements from "../src/core/statements.ts";
import { decode, type Value } from "../src/core/wire.ts";
import { bytes, DEVICE, FakeServer, newKey, NONCE, serverFrame, TENANT } from "./support.ts";

type Frame = Value<typeof device.ClientFrame>["frame"];
type Answer = Value<typeof device.Answer>;

const ID = bytes(24, 1);
const OTHER = bytes(24, 2);
const { State, Result } = device;

async function world() {
  const server = await FakeServer.make();
  const key = await newKey();
  const events: ConnectionEvent[] = [];
  const sent: Frame[] = [];
  const closed: number[] = [];
  const time = { now: 0 };
  let counter = 0n;
  let storage = true;
  const wire: Wire = {
    send: (frame) => sent.push(decode(device.ClientFrame, frame).frame),
    close: (code) => closed.push(code),
  };
  const identity = { tenant: TENANT, device: DEVICE, user: "alice", server: server.hash, key };
  const connection = new Connection(identity, {
    agent: "test",
    keeper: {
      nextCounter: async () => {
        if (!storage) {
          throw new StorageFault("full");
        }
        counter += 1n;
        return counter;
      },
      saveTotp: async ({ algorithm }) => algorithm === "SHA1",
    },
    now: () => time.now,
    random: () => 1,
    emit: (event) => events.push(event),
  });
  const take = <T>(list: T[]): T[] => list.splice(0);
  const give = async (...frames: Bytes[]) => {
    for (const frame of frames) {
      connection.onFrame(wire, frame);
    }
    await connection.idle();
  };
  const login = async () => {
    connection.open(wire);
    await give(await server.hello(), welcome());
  };
  const answers = (): Answer[] =>
    take(sent).flatMap((frame) => (frame.case === "answer" ? [frame.value] : []));
  return {
    server, key, connection, events, sent, closed, time, wire, give, login, answers,
    take, breakStorage: () => (storage = false),
    types: () => take(events).map(({ type }) => type),
  };
}

function welcome(change = {}): Bytes {
  const value = { user: "alice", organisation: "", totpRebind: false, ...change };
  return serverFrame({ case: "welcome", value });
}

function settled(challenge: Bytes, state: number): Bytes {
  return serverFrame({ case: "settled", value: { challenge, state } });
}

function result(challenge: Bytes, result: number, state = 0, totpRebind = false): Bytes {
  return serverFrame({ case: "answerResult", value: { challenge, result, state, totpRebind } });
}

test("a login is signed over the pinned server and this connection's nonce", async () => {
  const { server, key, sent, login, types } = await world();
  await login();
  assert.deepEqual(sent.map((frame) => frame.case), ["hello", "login"]);
  const [, frame] = sent;
  assert.ok(frame?.case === "login");
  const identity = server.hash;
  const signed = statements.login({ identity, tenant: TENANT, device: DEVICE, nonce: NONCE });
  const own = { algorithm: key.algorithm, bytes: key.publicKey };
  assert.ok(await verifies(own, frame.value.signature, signed));
  assert.deepEqual(types(), ["connected"]);
});

test("another server gets nothing signed", async () => {
  const { connection, give, wire, sent, closed, events } = await world();
  const impostor = await FakeServer.make();
  connection.open(wire);
  await give(await impostor.hello(), welcome());
  assert.deepEqual(sent.map((frame) => frame.case), ["hello"]);
  assert.deepEqual(events, [{ type: "fault", fault: "wrong_server" }]);
  assert.deepEqual(closed, [CLOSE.malformed]);
});

test("a prompt becomes one card, whose texts can't forge the screen", async () => {
  const { server, give, login, take, events } = await world();
  await login();
  const prompt = await server.prompt(server.challenge(ID));
  take(events);
  await give(prompt, prompt);
  assert.equal(events.length, 1);
  const [event] = events;
  assert.ok(event?.type === "prompt");
  const { card } = event;
  assert.equal(card.integrationName, "VPN");
  assert.equal(card.challenge, toHex(ID));
  assert.deepEqual(card.details, [{ label: "Amount", value: "20 EUR" }]);
  assert.deepEqual(card.hash, await sha256(server.challenge(ID)));
});

test("a prompt that can't be trusted is dropped, and the connection goes on", async () => {
  const { server, give, login, take, events } = await world();
  await login();
  take(events);
  const genuine = server.challenge(ID);
  const dropped = async (prompt: Promise<Bytes>, fault: string) => {
    await give(await prompt);
    assert.deepEqual(take(events), [{ type: "dropped", fault }]);
  };
  await dropped(server.prompt(genuine, { challenge: server.challenge(OTHER) }), "signature");
  await dropped(server.prompt(genuine, { signature: bytes(64, 0) }), "signature");
  await dropped(server.prompt(genuine, { certificate: 1 }), "signature");
  await dropped(server.prompt(genuine, { certificate: 9 }), "signature");
  await dropped(server.prompt(server.challenge(ID, { userName: "bob" })), "other_account");
  await dropped(server.prompt(server.challenge(ID, { tenant: DEVICE })), "other_account");
  await dropped(server.prompt(server.challenge(ID, { digits: 1 })), "malformed");
  await dropped(server.prompt(server.challenge(ID, { digits: 9 })), "malformed");
  await dropped(server.prompt(server.challenge(ID, { purpose: 7 })), "malformed");
  await dropped(server.prompt(server.challenge(bytes(23, 1))), "malformed");
  await dropped(server.prompt(bytes(9, 255)), "malformed");
  await give(await server.prompt(genuine));
  assert.equal(take(events)[0]?.type, "prompt");
});

test("an answer signs the bytes that came, and its result ends the card", async () => {
  const { server, key, connection, give, login, answers, events, take } = await world();
  await login();
  await give(await server.prompt(server.challenge(ID)));
  const id = toHex(ID);
  assert.equal(connection.answer(id, { approve: "12345" }), "number");
  assert.equal(connection.answer(toHex(OTHER), "deny"), "unknown");
  assert.equal(connection.answer(id, { approve: "042 137" }), undefined);
  assert.equal(connection.answer(id, "deny"), "in_flight");
  await connection.idle();
  const [answer, ...more] = answers();
  assert.ok(answer && more.length === 0);
  assert.equal(answer.number, "042137");
  const signed = statements.answer({
    challenge: await sha256(server.challenge(ID)),
    device: DEVICE,
    decision: statements.APPROVE,
    number: "042137",
    userVerified: false,
    counter: 1n,
  });
  const own = { algorithm: key.algorithm, bytes: key.publicKey };
  assert.ok(await verifies(own, answer.signature, signed));
  take(events);
  await give(result(ID, Result.SETTLED, State.MISMATCH), settled(ID, State.MISMATCH));
  assert.deepEqual(take(events), [
    { type: "answered", challenge: id, outcome: "mismatch" },
    { type: "settled", challenge: id, decision: "mismatch" },
  ]);
});

test("what is settled elsewhere goes away once, and never comes back", async () => {
  const { server, give, login, events, take } = await world();
  await login();
  const prompt = await server.prompt(server.challenge(ID));
  await give(prompt);
  take(events);
  await give(settled(ID, State.DENIED), settled(ID, State.DENIED), prompt);
  assert.deepEqual(take(events), [{ type: "settled", challenge: toHex(ID), decision: "denied" }]);
  // the word on a challenge may overtake its prompt
  await give(settled(OTHER, State.CANCELLED), await server.prompt(server.challenge(OTHER)));
  assert.deepEqual(take(events), []);
});

test("an answer that was not stored, or whose result was lost, is sent again under a new counter", async () => {
  const { server, connection, give, login, answers, time, wire } = await world();
  await login();
  await give(await server.prompt(server.challenge(ID)));
  connection.answer(toHex(ID), "deny");
  await connection.idle();
  assert.equal(answers()[0]?.counter, 1n);
  await give(result(ID, Result.RETRY));
  assert.equal(connection.nextWake(), 1000);
  time.now = 999;
  connection.onWake();
  await connection.idle();
  assert.equal(answers().length, 0);
  time.now = 1000;
  connection.onWake();
  await connection.idle();
  assert.equal(answers()[0]?.counter, 2n);
  connection.onClose(undefined);
  connection.open(wire);
  await give(await server.hello());
  assert.equal(answers().length, 0);
  await give(welcome());
  assert.equal(answers()[0]?.counter, 3n);
});

test("nothing is sent whose count could not be stored", async () => {
  const { server, connection, give, login, sent, closed, events, take, breakStorage } =
    await world();
  await login();
  await give(await server.prompt(server.challenge(ID)));
  take(sent);
  take(events);
  breakStorage();
  connection.answer(toHex(ID), "deny");
  await connection.idle();
  assert.deepEqual(sent, []);
  assert.deepEqual(events, [{ type: "fault", fault: "not_saved" }]);
  assert.deepEqual(closed, [CLOSE.normal]);
});

test("only a person pulls", async () => {
  const { connection, give, login, sent, server, wire } = await world();
  await login();
  connection.onClose(undefined);
  connection.open(wire);
  await give(await server.hello(), welcome());
  assert.ok(!sent.some((frame) => frame.case === "pull"));
  connection.pull();
  await connection.idle();
  assert.equal(sent.filter((frame) => frame.case === "pull").length, 1);
  connection.onClose(undefined);
  connection.pull();
  connection.open(wire);
  await give(await server.hello(), welcome());
  assert.equal(sent.filter((frame) => frame.case === "pull").length, 2);
});

test("a late report signs a challenge of an earlier page's life", async () => {
  const { connection, give, login, answers, events, take } = await world();
  await login();
  take(events);
  const hash = bytes(32, 7);
  assert.equal(connection.reportLate(toHex(ID), hash), undefined);
  await connection.idle();
  const [answer] = answers();
  assert.equal(answer?.decision, statements.REPORT);
  await give(result(ID, Result.SETTLED, State.APPROVED));
  assert.deepEqual(take(events), [{ type: "answered", challenge: toHex(ID), outcome: "approved" }]);
});

test("a withheld answer leaves deny and report", async () => {
  const { server, connection, give, login, answers, types } = await world();
  await login();
  await give(await server.prompt(server.challenge(ID)));
  connection.answer(toHex(ID), { approve: "000000" });
  await connection.idle();
  types();
  await give(result(ID, Result.WITHHELD));
  assert.deepEqual(types(), ["answered"]);
  answers();
  assert.equal(connection.answer(toHex(ID), "report"), undefined);
  await connection.idle();
  assert.equal(answers()[0]?.decision, statements.REPORT);
});

test("a new secret is asked for after an approval only, and stored before it is told", async () => {
  const { server, connection, give, login, sent, take, types } = await world();
  await login();
  await give(await server.prompt(server.challenge(ID)));
  connection.answer(toHex(ID), { approve: "000000" });
  await connection.idle();
  take(sent);
  await give(result(ID, Result.SETTLED, State.APPROVED, true));
  assert.deepEqual(take(sent).map((frame) => frame.case), ["rebindTotp"]);
  types();
  const totp = { secret: bytes(20, 1), algorithm: "SHA1", digits: 6, periodS: 30 };
  await give(serverFrame({ case: "totpRebound", value: { totp: undefined } }));
  assert.deepEqual(types(), []);
  await give(serverFrame({ case: "totpRebound", value: { totp } }));
  assert.deepEqual(types(), ["totp_rebound"]);
});

test("a card whose time is over goes away by itself", async () => {
  const { server, connection, give, login, time, types } = await world();
  await login();
  await give(await server.prompt(server.challenge(ID), { remainingMs: 5000 }));
  types();
  assert.equal(connection.nextWake(), 15_000);
  time.now = 14_999;
  connection.onWake();
  assert.deepEqual(types(), []);
  time.now = 15_000;
  connection.onWake();
  assert.deepEqual(types(), ["lapsed"]);
  assert.equal(connection.nextWake(), undefined);
});

test("more ringing cards than a person could mean are dropped, unless old ones are over", async () => {
  const { server, give, login, events, take } = await world();
  await login();
  take(events);
  const id = (at: number) => bytes(24, at + 10);
  for (let at = 0; at < MAX_CARDS; at++) {
    await give(await server.prompt(server.challenge(id(at))));
  }
  await give(await server.prompt(server.challenge(id(MAX_CARDS))));
  assert.deepEqual(take(events).at(-1), { type: "dropped", fault: "too_many" });
  await give(settled(id(0), State.EXPIRED), await server.prompt(server.challenge(id(99))));
  assert.equal(take(events).at(-1)?.type, "prompt");
});

test("under a silent flood the newest is shown, and what the server still sends stays", async () => {
  const { server, connection, give, login, events, take } = await world();
  await login();
  const id = (at: number) => bytes(24, at + 10);
  const silent = (at: number) => server.prompt(server.challenge(id(at)), { alert: false });
  await give(await server.prompt(server.challenge(id(0))));
  for (let at = 1; at < MAX_CARDS; at++) {
    await give(await silent(at));
  }
  // one is being answered, another is looked at, a third is sent again with the next pull
  assert.equal(connection.answer(toHex(id(1)), "deny"), undefined);
  connection.lookAt(toHex(id(3)));
  await give(await silent(2));
  take(events);
  for (let at = MAX_CARDS; at < MAX_CARDS + 10; at++) {
    await give(await silent(at));
    const [gone, come] = take(events);
    assert.deepEqual(gone, { type: "gave_way", challenge: toHex(id(at - MAX_CARDS + 4)) });
    assert.equal(come?.type, "prompt");
  }
  // what was given up doesn't come back; what the server sent again is still there
  await give(await silent(4), await silent(2), await silent(3));
  assert.deepEqual(take(events), []);
});

test("coming back: jitter over a doubling bound, the server's time first, and some ends are final", async () => {
  const { server, connection, give, login, time, wire } = await world();
  for (const bound of [1000, 2000, 4000]) {
    connection.open(wire);
    assert.deepEqual(connection.onClose(undefined), { retryInMs: bound, notBeforeMs: 0 });
  }
  connection.open(wire);
  assert.deepEqual(connection.onClose(CLOSE.tooMany), { retryInMs: 16_000, notBeforeMs: 0 });
  for (let at = 0; at < 20; at++) {
    connection.open(wire);
    connection.onClose(undefined);
  }
  connection.open(wire);
  assert.deepEqual(connection.onClose(CLOSE.deadline), { retryInMs: CAP_MS, notBeforeMs: 0 });
  // a good connection starts over; a goodbye is waited first
  await login();
  time.now += 30_000;
  await give(serverFrame({ case: "goodbye", value: { retryAfterMs: 7000 } }));
  assert.deepEqual(connection.onClose(CLOSE.restart), { retryInMs: 8000, notBeforeMs: 7000 });
  for (const [code, stop] of [
    [CLOSE.replaced, "replaced"],
    [CLOSE.revoked, "revoked"],
    [CLOSE.unauthenticated, "unauthenticated"],
    [CLOSE.version, "version"],
  ] as const) {
    connection.open(wire);
    await give(await server.hello());
    assert.deepEqual(connection.onClose(code), { stop });
  }
});

test("frames out of turn, too large or broken end the connection", async () => {
  const pull = serverFrame({ case: "pulled", value: { prompts: 0 } });
  for (const frame of [pull, welcome(), bytes(9000, 0), bytes(3, 255)]) {
    const { connection, give, wire, closed, types } = await world();
    connection.open(wire);
    await give(frame);
    assert.deepEqual(types(), ["fault"]);
    assert.deepEqual(closed, [CLOSE.malformed]);
  }
});

test("a frame of a socket that is gone counts for nothing", async () => {
  const { server, connection, login, wire, events, take } = await world();
  await login();
  take(events);
  connection.onFrame(wire, await server.prompt(server.challenge(ID)));
  connection.onClose(undefined);
  await connection.idle();
  assert.deepEqual(events, []);
});
