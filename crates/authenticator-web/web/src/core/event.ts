/** What happens on an account, and the words of the protocol for it. */

import type { Card, PromptFault } from "./card.ts";
import { Kind, State } from "./device.ts";
import type { Fault } from "./hello.ts";

/** How a challenge ended. */
export type Decision =
  | "approved"
  | "denied"
  | "reported"
  | "mismatch"
  | "expired"
  | "cancelled"
  | "superseded";

const DECISIONS: ReadonlyMap<number, Decision> = new Map([
  [State.APPROVED, "approved"],
  [State.DENIED, "denied"],
  [State.REPORTED, "reported"],
  [State.MISMATCH, "mismatch"],
  [State.EXPIRED, "expired"],
  [State.CANCELLED, "cancelled"],
  [State.SUPERSEDED, "superseded"],
]);

export function decisionOf(state: number): Decision | undefined {
  return DECISIONS.get(state);
}

/** What became of an answer: decided, by it or by an earlier one; or one of the other words. */
export type Outcome = Decision | "withheld" | "late" | "refused";

export type NoticeKind =
  | "device_enrolled"
  | "ticket_created"
  | "factor_reset"
  | "recovery_code_used"
  | "repeated_failures"
  | "factor_created"
  | "device_revoked"
  | "device_waiting"
  | "digest"
  | "other";

const NOTICES: ReadonlyMap<number, NoticeKind> = new Map([
  [Kind.DEVICE_ENROLLED, "device_enrolled"],
  [Kind.TICKET_CREATED, "ticket_created"],
  [Kind.FACTOR_RESET, "factor_reset"],
  [Kind.RECOVERY_CODE_USED, "recovery_code_used"],
  [Kind.REPEATED_FAILURES, "repeated_failures"],
  [Kind.FACTOR_CREATED, "factor_created"],
  [Kind.DEVICE_REVOKED, "device_revoked"],
  [Kind.DEVICE_WAITING, "device_waiting"],
  [Kind.DIGEST, "digest"],
]);

export function noticeKindOf(kind: number): NoticeKind {
  return NOTICES.get(kind) ?? "other";
}

/** Something that the account's owner should know. */
export interface Notice {
  kind: NoticeKind;
  /** When it happened, by the server's clock, in ms since 1970. */
  at: number;
  /** In English. */
  text: string;
}

/** Why a connection must not be made again by itself. */
export type Stop = "replaced" | "revoked" | "unauthenticated" | "version" | "not_saved";

export type ConnectionEvent =
  | { type: "connected"; user: string; organisation: string }
  /** A challenge to show; at most once per challenge. */
  | { type: "prompt"; card: Card }
  /** A challenge that can't be trusted wasn't shown. */
  | { type: "dropped"; fault: PromptFault }
  | { type: "answered"; challenge: string; outcome: Outcome }
  /** A challenge was decided, here or elsewhere: its card goes away. */
  | { type: "settled"; challenge: string; decision: Decision }
  /** A card's time is over and the server hasn't said how it ended. */
  | { type: "lapsed"; challenge: string }
  /** So many newer ones came that a silent card goes away before its time. */
  | { type: "gave_way"; challenge: string }
  /** All silent challenges have been shown. */
  | { type: "pulled"; prompts: number }
  | { type: "notice"; notice: Notice }
  | { type: "totp_rebound" }
  /** The server broke the protocol, isn't the one, or nothing can be stored; the connection is being closed. */
  | { type: "fault"; fault: Fault | "not_saved" };

/** What to do after a connection. */
export type Next =
  /** Try again after so long, and for no reason before the time that the server gave. */
  | { retryInMs: number; notBeforeMs: number }
  | { stop: Stop };

/** Why an answer wasn't taken; nothing has been sent. */
export type AnswerError = "unknown" | "in_flight" | "number";

/** What a person chose. */
export type Choice = { approve: string } | "deny" | "report";
