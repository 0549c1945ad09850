/** The tables of messages say what proto/countersign/device/v1/device.proto says. */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as device from "../src/core/device.ts";
import { decode, encode } from "../src/core/wire.ts";
import { fromHex, toHex } from "../src/core/bytes.ts";
import { text } from "./support.ts";

const PROTO = text("proto/countersign/device/v1/device.proto").replace(/\/\/.*$/gm, "");

function camel(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}

/** The body of `message NAME {..}` or `enum NAME {..}`, and what follows its name. */
function* blocks(kind: string, source: string): Generator<[string, string]> {
  const start = new RegExp(`\\b${kind} (\\w+) \\{`, "g");
  for (let found = start.exec(source); found; found = start.exec(source)) {
    let depth = 1;
    let at = start.lastIndex;
    while (depth > 0) {
      depth += source[at] === "{" ? 1 : source[at] === "}" ? -1 : 0;
      at += 1;
    }
    yield [found[1] ?? "", source.slice(start.lastIndex, at - 1)];
  }
}

type Loose = Record<string, unknown>;
const tables = device as unknown as Loose;

/** What a table says of its fields: "name = number kind". */
function fieldsOf(shape: Loose): string[] {
  return Object.entries(shape).flatMap(([name, entry]) => {
    const { oneof, no, kind, repeated } = entry as Loose;
    if (oneof) {
      return fieldsOf(oneof as Loose);
    }
    const type =
      typeof kind === "string" ? kind : Object.keys(tables).find((key) => tables[key] === kind);
    return [`${repeated ? "repeated " : ""}${type} ${name} = ${no}`];
  });
}

test("every message, field, number and type", () => {
  const enums = new Set(Array.from(blocks("enum", PROTO), ([name]) => name));
  let seen = 0;
  for (const [name, body] of blocks("message", PROTO)) {
    const table = tables[name] as { shape: Loose } | undefined;
    assert.ok(table, name);
    const own = body.replace(/enum \w+ \{[^}]*\}/g, "");
    const fields = Array.from(
      own.matchAll(/(repeated )?(\w+) (\w+) = (\d+);/g),
      ([, repeated = "", type = "", field = "", no]) =>
        `${repeated}${enums.has(type) ? "enum" : type} ${camel(field)} = ${no}`,
    );
    assert.deepEqual(fieldsOf(table.shape).sort(), fields.sort(), name);
    const oneofs = Array.from(own.matchAll(/oneof (\w+)/g), ([, name]) => name);
    const ours = Object.keys(table.shape).filter((key) => "oneof" in (table.shape[key] as Loose));
    assert.deepEqual(ours, oneofs, name);
    seen += 1;
  }
  const messages = Object.values(tables).filter((table) => "shape" in (table as Loose));
  assert.equal(seen, messages.length);
});

test("every value of the enumerations", () => {
  for (const [name, body] of blocks("enum", PROTO)) {
    const values = Object.fromEntries(
      Array.from(body.matchAll(/(\w+) = (\d+);/g), ([, key = "", no]) => [
        key.slice(name.replace(/\B[A-Z]/g, "_$&").length + 1).toUpperCase(),
        Number(no),
      ]),
    );
    delete values.UNSPECIFIED;
    if (name === "Decision") {
      // the statement's own codes
      assert.deepEqual(values, { APPROVE: 1, DENY: 2, REPORT: 3 });
    } else {
      assert.deepEqual(tables[name], values, name);
    }
  }
});

test("a later version's fields are passed over, and broken bytes are refused", () => {
  const value = { user: "alice", organisation: "", totpRebind: true };
  const known = encode(device.Welcome, value);
  // field 15, a varint, and field 99, bytes
  const later = fromHex(`${toHex(known)}7801${"9a06"}03010203`);
  assert.deepEqual(decode(device.Welcome, later), value);
  for (let length = 1; length < known.length; length++) {
    const cut = known.slice(0, length);
    let read: unknown;
    try {
      read = decode(device.Welcome, cut);
    } catch {
      continue;
    }
    // cut between two fields: the second has its default
    assert.deepEqual(read, { ...value, totpRebind: false });
  }
  assert.throws(() => decode(device.Welcome, fromHex("0801")), "a varint where a string is due");
  assert.throws(() => decode(device.Welcome, fromHex("0a02c328")), "not UTF-8");
  assert.deepEqual(decode(device.ServerFrame, fromHex("")).frame, { case: undefined });
});
