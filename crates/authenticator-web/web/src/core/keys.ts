/** Key pairs and signatures: Ed25519 (RFC 8032), and ECDSA over P-256 where a browser lacks it. */

import { type Bytes, copy, sha256, toHex } from "./bytes.ts";

/** Codes of the protocol (proto/README.md §3). */
export const ED25519 = 1;
export const P256 = 2;
export type Algorithm = typeof ED25519 | typeof P256;

const KEY_LENGTH = { [ED25519]: 32, [P256]: 65 } as const;
const IMPORT = {
  [ED25519]: { name: "Ed25519" },
  [P256]: { name: "ECDSA", namedCurve: "P-256" },
} as const;
/** WebCrypto's ECDSA signatures are r and s, 32 bytes each, as the protocol's are. */
const SIGN = {
  [ED25519]: { name: "Ed25519" },
  [P256]: { name: "ECDSA", hash: "SHA-256" },
} as const;

export interface PublicKey {
  algorithm: Algorithm;
  bytes: Bytes;
}

/** A device's key. The private half can't be read, not even by this program. */
export interface DeviceKey {
  algorithm: Algorithm;
  privateKey: CryptoKey;
  publicKey: Bytes;
}

/** Makes a device's key for good; a browser's refusal of Ed25519 leads to P-256. */
export async function generateKey(
  algorithms: readonly Algorithm[] = [ED25519, P256],
): Promise<DeviceKey> {
  let refusal: unknown;
  for (const algorithm of algorithms) {
    try {
      const extractable = false;
      const made = await crypto.subtle.generateKey(IMPORT[algorithm], extractable, [
        "sign",
        "verify",
      ]);
      const pair = made as CryptoKeyPair;
      const publicKey = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
      return { algorithm, privateKey: pair.privateKey, publicKey };
    } catch (error) {
      refusal = error;
    }
  }
  throw refusal;
}

export async function sign(key: DeviceKey, bytes: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.sign(SIGN[key.algorithm], key.privateKey, bytes));
}

/** A public key as it came; undefined if the algorithm or the length isn't one of ours. */
export function readPublicKey(algorithm: number, bytes: Uint8Array): PublicKey | undefined {
  if (algorithm !== ED25519 && algorithm !== P256) {
    return undefined;
  }
  return bytes.length === KEY_LENGTH[algorithm] ? { algorithm, bytes: copy(bytes) } : undefined;
}

/** Whether `signature` over `bytes` is by `key`. A key that isn't a point signs nothing. */
export async function verifies(
  key: PublicKey,
  signature: Uint8Array,
  bytes: Bytes,
): Promise<boolean> {
  const kind = IMPORT[key.algorithm];
  try {
    const imported = await crypto.subtle.importKey("raw", key.bytes, kind, false, ["verify"]);
    return await crypto.subtle.verify(SIGN[key.algorithm], imported, copy(signature), bytes);
  } catch (error) {
    const unknown = error instanceof DOMException && error.name === "NotSupportedError";
    return key.algorithm === ED25519 && unknown && verifiesByScript(key, signature, bytes);
  }
}

/** Servers sign with Ed25519 whatever the device's own key is: a browser without it checks by script. */
async function verifiesByScript(
  key: PublicKey,
  signature: Uint8Array,
  bytes: Bytes,
): Promise<boolean> {
  const { verifyAsync } = await import("@noble/ed25519");
  return verifyAsync(signature, bytes, key.bytes, { zip215: false }).catch(() => false);
}

/** Hash of a server's identity key: what devices pin. */
export function identityHash(key: PublicKey): Promise<Bytes> {
  return sha256(Uint8Array.of(key.algorithm), key.bytes);
}

/** What people compare: the first 16 bytes, eight groups of four. */
export function fingerprint(identity: Uint8Array): string {
  return (toHex(identity.subarray(0, 16)).match(/.{4}/g) ?? []).join(" ");
}
