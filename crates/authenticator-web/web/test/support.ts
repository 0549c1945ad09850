/** What tests share: the vectors of the protocol, keys from seeds, and a server's half of a connection. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Bytes, concat, fromHex } from "../src/core/bytes.ts";
import { type DeviceKey, ED25519, identityHash, type PublicKey, sign } from "../src/core/keys.ts";
import * as device from "../src/core/device.ts";
import * as statements from "../src/core/statements.ts";
import { encode, type Value } from "../src/core/wire.ts";

declare const ROOT: string;

export function text(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

export function vectors(name: string): any {
  return JSON.parse(text(`proto/vectors/${name}.json`));
}

/** PKCS#8 of an Ed25519 seed (RFC 8410 §7). */
const PKCS8 = fromHex("302e020100300506032b657004220420");

export async function keyOf(seed: Bytes, publicKey: Bytes): Promise<DeviceKey> {
  const pkcs8 = concat(PKCS8, seed);
  const kind = { name: "Ed25519" };
  const privateKey = await crypto.subtle.importKey("pkcs8", pkcs8, kind, false, ["sign"]);
  return { algorithm: ED25519, privateKey, publicKey };
}

export async function newKey(): Promise<DeviceKey> {
  const made = await crypto.subtle.generateKey({ name: "Ed25519" }, true, ["sign", "verify"]);
  const pair = made as CryptoKeyPair;
  const publicKey = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  return { algorithm: ED25519, privateKey: pair.privateKey, publicKey };
}

function publicOf(key: DeviceKey): PublicKey {
  return { algorithm: key.algorithm, bytes: key.publicKey };
}

export function serverFrame(frame: Value<typeof device.ServerFrame>["frame"]): Bytes {
  return encode(device.ServerFrame, { frame });
}

export const bytes = (length: number, fill: number): Bytes => new Uint8Array(length).fill(fill);
export const TENANT = bytes(16, 4);
export const DEVICE = bytes(16, 5);
export const NONCE = bytes(32, 3);

/** A server with keys of its own. */
export class FakeServer {
  readonly identity: DeviceKey;
  readonly signer: DeviceKey;
  readonly hash: Bytes;

  private constructor(identity: DeviceKey, signer: DeviceKey, hash: Bytes) {
    this.identity = identity;
    this.signer = signer;
    this.hash = hash;
  }

  static async make(): Promise<FakeServer> {
    const identity = await newKey();
    return new FakeServer(identity, await newKey(), await identityHash(publicOf(identity)));
  }

  async hello(): Promise<Bytes> {
    const certified = statements.certificate(publicOf(this.signer), 1n, 2n);
    const key = { algorithm: ED25519, key: this.signer.publicKey };
    const value = {
      version: 1,
      nonce: NONCE,
      identity: { algorithm: ED25519, key: this.identity.publicKey },
      certificates: [
        { key, notBeforeMs: 1n, notAfterMs: 2n, signature: await sign(this.identity, certified) },
        // one that nobody vouches for
        { key, notBeforeMs: 1n, notAfterMs: 3n, signature: await sign(this.identity, certified) },
      ],
    };
    return serverFrame({ case: "hello", value });
  }

  challenge(id: Bytes, change: Partial<Value<typeof device.Challenge>> = {}): Bytes {
    return encode(device.Challenge, {
      id,
      tenant: TENANT,
      integration: bytes(16, 8),
      integrationName: "VPN\u202e",
      user: bytes(16, 9),
      userName: "alice",
      origin: "https://vpn.example.org",
      browserSession: bytes(32, 10),
      createdMs: 1_700_000_000_000n,
      expiresMs: 1_700_000_090_000n,
      nonce: bytes(32, 11),
      purpose: device.Purpose.SIGN_IN,
      digits: 6,
      context: { address: "203.0.113.9", browser: "Firefox on Linux", place: "" },
      details: [{ label: "Amount", value: "20 EUR" }],
      ...change,
    });
  }

  async prompt(
    challenge: Bytes,
    change: Partial<Value<typeof device.Prompt>> = {},
  ): Promise<Bytes> {
    const signature = await sign(this.signer, statements.challenge(challenge));
    const value = { challenge, signature, certificate: 0, alert: true, remainingMs: 90_000 };
    return serverFrame({ case: "prompt", value: { ...value, ...change } });
  }
}
