/** The messages of proto/countersign/device/v1/device.proto; a test compares every field with that file. */

import { field, list, message, oneof, type Value } from "./wire.ts";

export const ClientHello = message({
  minVersion: field(1, "uint32"),
  maxVersion: field(2, "uint32"),
  agent: field(3, "string"),
});

export const Login = message({
  tenant: field(1, "bytes"),
  device: field(2, "bytes"),
  signature: field(3, "bytes"),
});

export const TypedCode = message({ user: field(1, "string"), code: field(2, "string") });

export const EnrolClaim = message({
  proof: oneof({ secret: field(1, "bytes"), code: field(2, TypedCode) }),
  algorithm: field(3, "uint32"),
  publicKey: field(4, "bytes"),
  deviceName: field(5, "string"),
  signature: field(6, "bytes"),
});

export const EnrolConfirm = message({ number: field(1, "string"), signature: field(2, "bytes") });

export const Answer = message({
  challenge: field(1, "bytes"),
  decision: field(2, "enum"),
  number: field(3, "string"),
  userVerified: field(4, "bool"),
  counter: field(5, "uint64"),
  signature: field(6, "bytes"),
});

export const Pull = message({});
export const RebindTotp = message({});
export const NoticesSeen = message({ upTo: field(1, "uint64") });

export const ClientFrame = message({
  frame: oneof({
    hello: field(1, ClientHello),
    login: field(2, Login),
    enrolClaim: field(3, EnrolClaim),
    enrolConfirm: field(4, EnrolConfirm),
    answer: field(5, Answer),
    pull: field(6, Pull),
    rebindTotp: field(7, RebindTotp),
    noticesSeen: field(8, NoticesSeen),
  }),
});

export const PublicKey = message({ algorithm: field(1, "uint32"), key: field(2, "bytes") });

export const Certificate = message({
  key: field(1, PublicKey),
  notBeforeMs: field(2, "uint64"),
  notAfterMs: field(3, "uint64"),
  signature: field(4, "bytes"),
});

export const ServerHello = message({
  version: field(1, "uint32"),
  nonce: field(2, "bytes"),
  identity: field(3, PublicKey),
  certificates: list(4, Certificate),
});

export const Welcome = message({
  user: field(1, "string"),
  organisation: field(2, "string"),
  totpRebind: field(3, "bool"),
});

export const EnrolPending = message({ digits: field(1, "uint32") });

export const Totp = message({
  secret: field(1, "bytes"),
  algorithm: field(2, "string"),
  digits: field(3, "uint32"),
  periodS: field(4, "uint32"),
});

export const Enrolled = message({
  tenant: field(1, "bytes"),
  device: field(2, "bytes"),
  user: field(3, "string"),
  organisation: field(4, "string"),
  totp: field(5, Totp),
});

export const Prompt = message({
  challenge: field(1, "bytes"),
  signature: field(2, "bytes"),
  certificate: field(3, "uint32"),
  alert: field(4, "bool"),
  remainingMs: field(5, "uint32"),
});

export const Settled = message({ challenge: field(1, "bytes"), state: field(2, "enum") });

export const AnswerResult = message({
  challenge: field(1, "bytes"),
  result: field(2, "enum"),
  state: field(3, "enum"),
  totpRebind: field(4, "bool"),
});

export const Pulled = message({ prompts: field(1, "uint32") });

export const Notice = message({
  kind: field(1, "enum"),
  atMs: field(2, "uint64"),
  text: field(3, "string"),
  id: field(4, "uint64"),
  more: field(5, "bool"),
});

export const TotpRebound = message({ totp: field(1, Totp) });
export const Goodbye = message({ retryAfterMs: field(1, "uint32") });

export const ServerFrame = message({
  frame: oneof({
    hello: field(1, ServerHello),
    welcome: field(2, Welcome),
    enrolPending: field(3, EnrolPending),
    enrolled: field(4, Enrolled),
    prompt: field(5, Prompt),
    settled: field(6, Settled),
    answerResult: field(7, AnswerResult),
    pulled: field(8, Pulled),
    notice: field(9, Notice),
    totpRebound: field(10, TotpRebound),
    goodbye: field(11, Goodbye),
  }),
});

export const Context = message({
  address: field(1, "string"),
  browser: field(2, "string"),
  place: field(3, "string"),
});

export const Detail = message({ label: field(1, "string"), value: field(2, "string") });

export const Challenge = message({
  id: field(1, "bytes"),
  tenant: field(2, "bytes"),
  integration: field(3, "bytes"),
  integrationName: field(4, "string"),
  user: field(5, "bytes"),
  userName: field(6, "string"),
  origin: field(7, "string"),
  browserSession: field(8, "bytes"),
  createdMs: field(9, "uint64"),
  expiresMs: field(10, "uint64"),
  nonce: field(11, "bytes"),
  purpose: field(12, "enum"),
  digits: field(13, "uint32"),
  context: field(14, Context),
  details: list(15, Detail),
});

/** Values of enumerations, named as in the file. */
export const State = {
  PENDING: 1,
  APPROVED: 2,
  DENIED: 3,
  REPORTED: 4,
  MISMATCH: 5,
  EXPIRED: 6,
  CANCELLED: 7,
  SUPERSEDED: 8,
} as const;

export const Result = { SETTLED: 1, WITHHELD: 2, LATE: 3, REFUSED: 4, RETRY: 5 } as const;

export const Purpose = {
  SIGN_IN: 1,
  STEP_UP: 2,
  TRANSACTION: 3,
  ENROLMENT: 4,
  RESET: 5,
  HELP_DESK: 6,
} as const;

export const Kind = {
  DEVICE_ENROLLED: 1,
  TICKET_CREATED: 2,
  FACTOR_RESET: 3,
  RECOVERY_CODE_USED: 4,
  REPEATED_FAILURES: 5,
  FACTOR_CREATED: 6,
  DEVICE_REVOKED: 7,
  DEVICE_WAITING: 8,
  DIGEST: 9,
} as const;

export type ClientFrame = Value<typeof ClientFrame>;
export type ServerFrame = Value<typeof ServerFrame>;
export type ServerHello = Value<typeof ServerHello>;
export type Welcome = Value<typeof Welcome>;
export type Prompt = Value<typeof Prompt>;
export type Settled = Value<typeof Settled>;
export type AnswerResult = Value<typeof AnswerResult>;
export type Enrolled = Value<typeof Enrolled>;
export type Challenge = Value<typeof Challenge>;
