/** What an enrolment starts from: a link, or a code that somebody types. */

import { type Bytes, fromBase64Url } from "./bytes.ts";

const SECRET_LENGTH = 16;
const IDENTITY_LENGTH = 32;
const CODE_LENGTH = 5;
/** The longest link that is read: about 100 bytes more than the address in it. */
const MAX_LENGTH = 1024;

export interface LinkTicket {
  kind: "link";
  server: string;
  secret: Bytes;
  identity: Bytes;
}

export interface CodeTicket {
  kind: "code";
  server: string;
  user: string;
  code: Bytes;
}

export type Ticket = LinkTicket | CodeTicket;

/** Where a server is: https, or http on loopback; no query, no user name, no slash at the end. */
export function readServer(text: string): string | undefined {
  const address = text.trim().replace(/\/+$/, "");
  if (address.length > MAX_LENGTH || !/^https?:\/\/[A-Za-z0-9.\-_~:/[\]%]+$/i.test(address)) {
    return undefined;
  }
  const at = address.indexOf("://");
  const scheme = address.slice(0, at).toLowerCase();
  const rest = address.slice(at + 3);
  const slash = rest.indexOf("/");
  const authority = (slash < 0 ? rest : rest.slice(0, slash)).toLowerCase();
  const path = slash < 0 ? "" : rest.slice(slash);
  const named = /^(\[[0-9a-f:.]+\]|[^:[\]%]+)(?::(\d{1,5}))?$/.exec(authority);
  if (!named || Number(named[2] ?? 0) > 65_535) {
    return undefined;
  }
  const loopback = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(named[1] ?? "");
  return scheme === "https" || loopback ? `${scheme}://${authority}${path}` : undefined;
}

/** The fragment `v1.{secret}.{identity}` of a link to `server`. */
export function readFragment(server: string, fragment: string): LinkTicket | undefined {
  const [version, secretText, identityText, ...more] = fragment.split(".");
  if (version !== "v1" || more.length > 0) {
    return undefined;
  }
  const secret = fromBase64Url(secretText ?? "");
  const identity = fromBase64Url(identityText ?? "");
  if (secret?.length !== SECRET_LENGTH || identity?.length !== IDENTITY_LENGTH) {
    return undefined;
  }
  return { kind: "link", server, secret, identity };
}

/** A whole link, `{server}/enrol#v1.{secret}.{identity}`. */
export function readLink(text: string): LinkTicket | undefined {
  const [page, fragment, ...more] = text.trim().split("#");
  if (text.length > MAX_LENGTH || fragment === undefined || more.length > 0) {
    return undefined;
  }
  const place = page?.endsWith("/enrol") ? readServer(page.slice(0, -"/enrol".length)) : undefined;
  return place === undefined ? undefined : readFragment(place, fragment);
}

/** Crockford's base32: no I, L, O, U. */
const SYMBOLS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** The code as typed: case, spaces and hyphens don't count; O is 0, I and L are 1. */
export function readCode(typed: string): Bytes | undefined {
  const symbols = typed.replace(/[ -]/g, "").toUpperCase().replace(/O/g, "0").replace(/[IL]/g, "1");
  if (symbols.length !== (CODE_LENGTH * 8) / 5) {
    return undefined;
  }
  let value = 0n;
  for (const symbol of symbols) {
    const digit = SYMBOLS.indexOf(symbol);
    if (digit < 0) {
      return undefined;
    }
    value = value * 32n + BigInt(digit);
  }
  const bytes = new Uint8Array(CODE_LENGTH);
  for (let at = CODE_LENGTH - 1; at >= 0; at--) {
    bytes[at] = Number(value & 0xffn);
    value >>= 8n;
  }
  return bytes;
}

/** As it is sent: upper case, no separators. */
export function writeCode(code: Bytes): string {
  let value = code.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  let text = "";
  for (let at = 0; at < (CODE_LENGTH * 8) / 5; at++) {
    text = (SYMBOLS[Number(value % 32n)] ?? "") + text;
    value /= 32n;
  }
  return text;
}
