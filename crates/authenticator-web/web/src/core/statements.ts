/** What is signed (proto/README.md §8). Every byte string starts with its label and a zero byte. */

import { type Bytes, concat, prefixed, sha256, u64, utf8 } from "./bytes.ts";
import type { PublicKey } from "./keys.ts";

export const APPROVE = 1;
export const DENY = 2;
export const REPORT = 3;
export type AnswerDecision = typeof APPROVE | typeof DENY | typeof REPORT;

function label(name: string): Bytes {
  return utf8(`countersign/${name}\0`);
}

export interface LoginStatement {
  identity: Bytes;
  tenant: Bytes;
  device: Bytes;
  nonce: Bytes;
}

export function login({ identity, tenant, device, nonce }: LoginStatement): Bytes {
  return concat(label("login/v1"), identity, tenant, device, nonce);
}

export interface ClaimStatement {
  ticket: Bytes;
  identity: Bytes;
  nonce: Bytes;
  key: PublicKey;
}

export function claim({ ticket, identity, nonce, key }: ClaimStatement): Bytes {
  return concat(
    label("enrol/v1"),
    ticket,
    identity,
    nonce,
    Uint8Array.of(key.algorithm),
    prefixed(key.bytes),
  );
}

export function confirm(ticket: Bytes, nonce: Bytes, number: string): Bytes {
  return concat(label("enrol-confirm/v1"), ticket, nonce, prefixed(utf8(number)));
}

export interface AnswerStatement {
  /** SHA-256 of the challenge bytes as received. */
  challenge: Bytes;
  device: Bytes;
  decision: AnswerDecision;
  /** Empty unless approving. */
  number: string;
  userVerified: boolean;
  counter: bigint;
}

export function answer(statement: AnswerStatement): Bytes {
  return concat(
    label("answer/v1"),
    Uint8Array.of(1),
    statement.challenge,
    statement.device,
    Uint8Array.of(statement.decision),
    prefixed(utf8(statement.number)),
    Uint8Array.of(statement.userVerified ? 1 : 0),
    u64(statement.counter),
  );
}

export function certificate(key: PublicKey, notBefore: bigint, notAfter: bigint): Bytes {
  return concat(
    label("certificate/v1"),
    Uint8Array.of(key.algorithm),
    prefixed(key.bytes),
    u64(notBefore),
    u64(notAfter),
  );
}

export function challenge(bytes: Uint8Array): Bytes {
  return concat(label("challenge/v1"), bytes);
}

/** The hash of a link's secret, which the claim signs. */
export function ticketSecretHash(secret: Bytes): Promise<Bytes> {
  return sha256(label("ticket-secret/v1"), secret);
}

/** The hash of a typed code; the name goes in as it was typed, trimmed. */
export function ticketCodeHash(user: string, code: Bytes): Promise<Bytes> {
  return sha256(label("ticket-code/v1"), utf8(user.trim()), Uint8Array.of(0), code);
}
