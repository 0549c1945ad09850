/** Time-based codes (RFC 6238, SHA-1), for when the server can't be reached. */

import { type Bytes, copy, u64 } from "./bytes.ts";

/** What a server hands over. */
export interface TotpParameters {
  secret: Uint8Array;
  algorithm: string;
  digits: number;
  periodS: number;
}

/** What is kept: the secret is a key that can make codes but can't be read back, not even by this program. */
export interface Totp {
  key: CryptoKey;
  digits: number;
  periodS: number;
}

export interface Code {
  digits: string;
  secondsLeft: number;
}

/** Undefined if it is of a kind that this authenticator doesn't make codes of. */
export async function importTotp(given: TotpParameters): Promise<Totp | undefined> {
  // RFC 4226 R6 wants 128 bits at least; SHA-1's block is 64 bytes, more adds nothing
  const usable =
    given.algorithm === "SHA1" &&
    given.secret.length >= 16 &&
    given.secret.length <= 64 &&
    given.digits >= 6 &&
    given.digits <= 8 &&
    given.periodS >= 15 &&
    given.periodS <= 120;
  if (!usable) {
    return undefined;
  }
  const secret = copy(given.secret);
  const kind = { name: "HMAC", hash: "SHA-1" };
  const key = await crypto.subtle.importKey("raw", secret, kind, false, ["sign"]);
  secret.fill(0);
  given.secret.fill(0);
  return { key, digits: given.digits, periodS: given.periodS };
}

/** The code at a time in seconds since 1970. */
export async function totpCode(totp: Totp, unixS: number): Promise<Code> {
  const step = Math.floor(unixS / totp.periodS);
  const mac: Bytes = new Uint8Array(await crypto.subtle.sign("HMAC", totp.key, u64(BigInt(step))));
  // RFC 4226 §5.3: 31 bits from where the last four bits point
  const offset = (mac[mac.length - 1] ?? 0) & 0x0f;
  const truncated = new DataView(mac.buffer).getUint32(offset) & 0x7fff_ffff;
  return {
    digits: String(truncated % 10 ** totp.digits).padStart(totp.digits, "0"),
    secondsLeft: (step + 1) * totp.periodS - Math.floor(unixS),
  };
}
