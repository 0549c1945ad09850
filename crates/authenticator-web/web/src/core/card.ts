/** A challenge as a person sees it. */

import { type Bytes, equal, sha256, toHex } from "./bytes.ts";
import { Challenge, type Prompt, Purpose as WirePurpose } from "./device.ts";
import type { Hello } from "./hello.ts";
import { verifies } from "./keys.ts";
import { MAX_DIGITS, MIN_DIGITS } from "./number.ts";
import * as statements from "./statements.ts";
import { plain } from "./text.ts";
import { decode } from "./wire.ts";

/** The longest that a card is kept, whatever the server says: NIST 800-63B-4 §3.1.3.2 allows ten minutes. */
const MAX_LIFE_MS = 10 * 60 * 1000;
/** How many details are shown, and how many characters of each text: what fits a small screen. */
const MAX_DETAILS = 16;
const MAX_TEXT = 200;
const ID_LENGTH = 24;

/** Why a prompt wasn't shown. */
export type PromptFault = "signature" | "malformed" | "other_account" | "too_many";

/** Why presence is asked for. */
export type Purpose =
  | "sign_in"
  | "step_up"
  | "transaction"
  | "enrolment"
  | "reset"
  | "help_desk";

const PURPOSES: ReadonlyMap<number, Purpose> = new Map([
  [WirePurpose.SIGN_IN, "sign_in"],
  [WirePurpose.STEP_UP, "step_up"],
  [WirePurpose.TRANSACTION, "transaction"],
  [WirePurpose.ENROLMENT, "enrolment"],
  [WirePurpose.RESET, "reset"],
  [WirePurpose.HELP_DESK, "help_desk"],
]);

/** A challenge to show. All texts are safe to print; nothing here tells the number. */
export interface Card {
  /** The challenge's id in hex. */
  challenge: string;
  /** SHA-256 of the challenge bytes as received: what answers sign. */
  hash: Bytes;
  integrationName: string;
  origin: string;
  purpose: Purpose;
  /** Empty texts are unknown. */
  context: { address: string; browser: string; place: string };
  /** Text of the integration's client: shown as "NAME says". */
  details: readonly { label: string; value: string }[];
  digits: number;
  /** Whether to ring. */
  alert: boolean;
  /** When it was made, by the server's clock, in ms since 1970: for showing only. */
  createdAt: number;
  /** When it ends, by this device's monotonic time in ms. */
  expires: number;
  /** When it was asked, by the same clock. */
  asked: number;
}

/** Whose prompts are taken. */
export interface Owner {
  tenant: Bytes;
  user: string;
}

/** Checks a prompt and reads it. The signature comes first: nothing unsigned is parsed. */
export async function openCard(
  prompt: Prompt,
  hello: Hello,
  owner: Owner,
  now: number,
): Promise<Card | PromptFault> {
  const key = hello.keys[prompt.certificate];
  const signed = statements.challenge(prompt.challenge);
  if (!key || !(await verifies(key, prompt.signature, signed))) {
    return "signature";
  }
  let challenge: Challenge;
  try {
    challenge = decode(Challenge, prompt.challenge);
  } catch {
    return "malformed";
  }
  if (!equal(challenge.tenant, owner.tenant) || challenge.userName !== owner.user) {
    return "other_account";
  }
  const purpose = PURPOSES.get(challenge.purpose);
  const { digits, id } = challenge;
  if (!purpose || id.length !== ID_LENGTH || digits < MIN_DIGITS || digits > MAX_DIGITS) {
    return "malformed";
  }
  const { address = "", browser = "", place = "" } = challenge.context ?? {};
  return {
    challenge: toHex(id),
    hash: await sha256(prompt.challenge),
    integrationName: plain(challenge.integrationName, MAX_TEXT),
    origin: plain(challenge.origin, MAX_TEXT),
    purpose,
    context: {
      address: plain(address, MAX_TEXT),
      browser: plain(browser, MAX_TEXT),
      place: plain(place, MAX_TEXT),
    },
    details: challenge.details.slice(0, MAX_DETAILS).map(({ label, value }) => ({
      label: plain(label, MAX_TEXT),
      value: plain(value, MAX_TEXT),
    })),
    digits,
    alert: prompt.alert,
    createdAt: Number(challenge.createdMs),
    expires: now + Math.min(prompt.remainingMs, MAX_LIFE_MS),
    asked: now - Math.max(0, Number(challenge.expiresMs - challenge.createdMs) - prompt.remainingMs),
  };
}
