/** The server's first frame, checked. */

import { type Bytes, copy, equal } from "./bytes.ts";
import type { ServerHello } from "./device.ts";
import { identityHash, type PublicKey, readPublicKey, verifies } from "./keys.ts";
import { certificate } from "./statements.ts";

/** The version of the protocol that this program speaks. */
export const VERSION = 1;
/** The largest frame, either way. */
export const MAX_FRAME = 8 * 1024;

/** What made this side close the connection. */
export type Fault = "malformed" | "version" | "wrong_server";

/** Thrown while a frame is read: the connection ends. */
export class ProtocolFault extends Error {
  readonly fault: Fault;

  constructor(fault: Fault) {
    super(fault);
    this.fault = fault;
  }

  /** The code to close with. */
  get code(): number {
    return this.fault === "version" ? CLOSE.version : CLOSE.malformed;
  }
}

/** Close codes (proto/README.md §7). */
export const CLOSE = {
  normal: 1000,
  restart: 1012,
  malformed: 4400,
  unauthenticated: 4401,
  revoked: 4403,
  version: 4406,
  deadline: 4408,
  replaced: 4409,
  ticket: 4410,
  tooMany: 4429,
  unavailable: 4503,
} as const;

/** What a device knows about the server that it talks to, once that has proved to be the pinned one. */
export interface Hello {
  nonce: Bytes;
  /** Hash of the identity key that was shown. */
  identity: Bytes;
  /** The challenge-signing keys by their place; undefined where the identity key doesn't vouch for one. */
  keys: readonly (PublicKey | undefined)[];
}

/** Checks the frame. Without `pinned` a person must confirm `identity`. */
export async function checkHello(shown: ServerHello, pinned: Bytes | undefined): Promise<Hello> {
  if (shown.version !== VERSION) {
    throw new ProtocolFault("version");
  }
  const identity = shown.identity && readPublicKey(shown.identity.algorithm, shown.identity.key);
  if (!identity || shown.nonce.length !== 32) {
    throw new ProtocolFault("malformed");
  }
  const hash = await identityHash(identity);
  if (pinned && !equal(pinned, hash)) {
    throw new ProtocolFault("wrong_server");
  }
  const keys = await Promise.all(
    shown.certificates.map(async ({ key, notBeforeMs, notAfterMs, signature }) => {
      const certified = key && readPublicKey(key.algorithm, key.key);
      const signed = certified && certificate(certified, notBeforeMs, notAfterMs);
      const genuine = signed && (await verifies(identity, signature, signed));
      return genuine ? certified : undefined;
    }),
  );
  return { nonce: copy(shown.nonce), identity: hash, keys };
}
