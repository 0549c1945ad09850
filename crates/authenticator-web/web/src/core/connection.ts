/**
 * An account's connection to its server: login, cards, answers.
 *
 * Does no I/O of its own: sockets, storage and time are given to it. Cards outlive sockets, so that a challenge
 * that is sent again after a reconnect isn't shown again.
 */

import { Backoff, type Random } from "./backoff.ts";
import { type Bytes, fromHex, toHex } from "./bytes.ts";
import { openCard } from "./card.ts";
import {
  type AnswerResult,
  ClientFrame,
  type Prompt,
  Result,
  ServerFrame,
  type ServerHello,
  type Settled,
  type Welcome,
} from "./device.ts";
import {
  type AnswerError,
  type Choice,
  type ConnectionEvent,
  decisionOf,
  type Next,
  noticeKindOf,
  type Outcome,
  type Stop,
} from "./event.ts";
import { checkHello, CLOSE, type Hello, MAX_FRAME, ProtocolFault, VERSION } from "./hello.ts";
import { type DeviceKey, sign } from "./keys.ts";
import { typedNumber } from "./number.ts";
import * as statements from "./statements.ts";
import { plain } from "./text.ts";
import type { TotpParameters } from "./totp.ts";
import { decode, encode } from "./wire.ts";

/**
 * How many challenges are remembered in full, ended ones included. A server shows up to 46 of one user, unless its
 * policy says otherwise; whoever asks it again and again may hold as many more that have given way meanwhile.
 */
export const MAX_CARDS = 64;
/** How many ids are remembered after that, so that a late frame doesn't bring a card back. */
const MAX_FORGOTTEN = 256;
/** How long a card outlives its own time while the server's word on it is awaited. */
const GRACE_MS = 10_000;
/** How long the server grants a new TOTP secret to a device that has approved. */
const REBIND_WINDOW_MS = 10 * 60 * 1000;
/** A connection that was logged in for so long was good: the next wait starts over. */
const HEALTHY_MS = 30_000;
/** First wait before an answer that wasn't stored is sent again; doubles up to three times. */
const RESEND_MS = 1000;
const MAX_NOTICE = 200;

/** Something could not be stored. */
export class StorageFault extends Error {}

/** Who the device is. */
export interface Identity {
  tenant: Bytes;
  device: Bytes;
  user: string;
  /** The pinned hash of the server's identity key. */
  server: Bytes;
  key: DeviceKey;
}

/** What is kept for an account beyond one page's life; rejects with a {@link StorageFault}. */
export interface Keeper {
  /** Raises the count of signed answers and says what it is now. Durable before it resolves. */
  nextCounter(): Promise<bigint>;
  /** Replaces the TOTP secret; false if it is of a kind that no codes are made of. */
  saveTotp(totp: TotpParameters): Promise<boolean>;
}

/** An open socket. */
export interface Wire {
  send(frame: Bytes): void;
  close(code: number): void;
}

/** The outside. */
export interface Surroundings {
  agent: string;
  keeper: Keeper;
  /** Monotonic time in ms. */
  now(): number;
  random: Random;
  emit(event: ConnectionEvent): void;
}

type Phase =
  | { name: "closed" }
  | { name: "greeting" }
  | { name: "logging_in"; hello: Hello }
  | { name: "online"; hello: Hello; since: number };

/** What the person said to a challenge, until the server has said what became of it. */
interface Pending {
  choice: Choice;
  tries: number;
  /** When to send it again; undefined while it is on its way or the connection is down. */
  resendAt: number | undefined;
}

interface Entry {
  hash: Bytes;
  digits: number;
  alert: boolean;
  expires: number;
  /** `told` once a "settled" was emitted. */
  standing: "open" | "withheld" | "ended" | "told";
  pending: Pending | undefined;
}

type Frame = Exclude<ClientFrame["frame"], { case: undefined }>;
type Handled = Exclude<ServerFrame["frame"], { case: undefined }>;

export class Connection {
  readonly #identity: Identity;
  readonly #outside: Surroundings;
  /** What the server sent the longest ago comes first: each pull brings all that it still shows. */
  readonly #entries = new Map<string, Entry>();
  readonly #forgotten = new Set<string>();
  readonly #backoff = new Backoff();
  #lookedAt: string | undefined;
  #phase: Phase = { name: "closed" };
  #wire: Wire | undefined;
  #retryAfterMs = 0;
  #wantsPull = false;
  #approvedAt: number | undefined;
  /** Signing and checking take time: what happens is dealt with one after the other. */
  #work: Promise<void> = Promise.resolve();

  constructor(identity: Identity, outside: Surroundings) {
    this.#identity = identity;
    this.#outside = outside;
  }

  get isOnline(): boolean {
    return this.#phase.name === "online";
  }

  /** Resolves when everything that was asked of it so far is done. */
  idle(): Promise<void> {
    return this.#work;
  }

  /** A socket is open: greets the server. */
  open(wire: Wire): void {
    this.#wire = wire;
    this.#phase = { name: "greeting" };
    this.#retryAfterMs = 0;
    const { agent } = this.#outside;
    this.#send({ case: "hello", value: { minVersion: VERSION, maxVersion: VERSION, agent } });
  }

  /** A message arrived on `wire`. */
  onFrame(wire: Wire, frame: Uint8Array): void {
    this.#then(async () => {
      // the socket may have gone while this waited its turn
      if (wire !== this.#wire || this.#phase.name === "closed") {
        return;
      }
      try {
        await this.#handle(frame);
        await this.#flush();
      } catch (error) {
        if (error instanceof StorageFault) {
          throw error;
        }
        const fault = error instanceof ProtocolFault ? error : new ProtocolFault("malformed");
        this.#phase = { name: "closed" };
        this.#outside.emit({ type: "fault", fault: fault.fault });
        wire.close(fault.code);
      }
    });
  }

  async #handle(bytes: Uint8Array): Promise<void> {
    if (bytes.length > MAX_FRAME) {
      throw new ProtocolFault("malformed");
    }
    const { frame } = decode(ServerFrame, bytes);
    const phase = this.#phase;
    // a frame of a later version that we never asked for: nothing to do
    if (frame.case === undefined) {
      return;
    }
    if (frame.case === "goodbye") {
      this.#retryAfterMs = frame.value.retryAfterMs;
    } else if (phase.name === "greeting" && frame.case === "hello") {
      this.#phase = { name: "logging_in", hello: await this.#onHello(frame.value) };
    } else if (phase.name === "logging_in" && frame.case === "welcome") {
      this.#phase = { name: "online", hello: phase.hello, since: this.#outside.now() };
      this.#onWelcome(frame.value);
    } else if (phase.name === "online") {
      await this.#onOnline(frame, phase.hello);
    } else {
      throw new ProtocolFault("malformed");
    }
  }

  async #onHello(shown: ServerHello): Promise<Hello> {
    const { tenant, device, server, key } = this.#identity;
    const hello = await checkHello(shown, server);
    const statement = statements.login({ identity: server, tenant, device, nonce: hello.nonce });
    this.#send({ case: "login", value: { tenant, device, signature: await sign(key, statement) } });
    return hello;
  }

  #onWelcome(welcome: Welcome): void {
    const now = this.#outside.now();
    this.#outside.emit({
      type: "connected",
      user: plain(welcome.user, MAX_NOTICE),
      organisation: plain(welcome.organisation, MAX_NOTICE),
    });
    // answers that were on their way when the last socket died: the server tells what it stored
    for (const { pending } of this.#entries.values()) {
      if (pending) {
        pending.resendAt = now;
      }
    }
    if (welcome.totpRebind && this.#hasApprovedLately(now)) {
      this.#send({ case: "rebindTotp", value: {} });
    }
  }

  #hasApprovedLately(now: number): boolean {
    return this.#approvedAt !== undefined && now < this.#approvedAt + REBIND_WINDOW_MS;
  }

  async #onOnline(frame: Handled, hello: Hello): Promise<void> {
    switch (frame.case) {
      case "prompt":
        return this.#onPrompt(frame.value, hello);
      case "settled":
        return this.#onSettled(frame.value);
      case "answerResult":
        return this.#onAnswerResult(frame.value);
      case "pulled":
        return this.#outside.emit({ type: "pulled", prompts: frame.value.prompts });
      case "notice": {
        const { kind, atMs, text, id, more } = frame.value;
        const notice = { kind: noticeKindOf(kind), at: Number(atMs), text: plain(text, MAX_NOTICE) };
        this.#outside.emit({ type: "notice", notice });
        // it would come again at each login otherwise
        if (id > 0n && !more) this.#send({ case: "noticesSeen", value: { upTo: id } });
        return;
      }
      case "totpRebound":
        // none: the server sees no right to one, and the old secret stays what it was
        if (frame.value.totp) {
          if (!(await this.#outside.keeper.saveTotp(frame.value.totp))) {
            throw new ProtocolFault("malformed");
          }
          this.#outside.emit({ type: "totp_rebound" });
        }
        return;
      default:
        throw new ProtocolFault("malformed");
    }
  }

  async #onPrompt(prompt: Prompt, hello: Hello): Promise<void> {
    const now = this.#outside.now();
    const card = await openCard(prompt, hello, this.#identity, now);
    if (typeof card === "string") {
      return this.#outside.emit({ type: "dropped", fault: card });
    }
    const known = this.#entries.get(card.challenge);
    if (known) {
      // sent again: the same card, whose time can only get shorter
      known.expires = Math.min(known.expires, card.expires);
      this.#entries.delete(card.challenge);
      this.#entries.set(card.challenge, known);
      return;
    }
    if (this.#forgotten.has(card.challenge) || card.expires <= now) {
      return;
    }
    if (!this.#makeRoom()) {
      return this.#outside.emit({ type: "dropped", fault: "too_many" });
    }
    const { hash, digits, alert, expires } = card;
    const entry: Entry = { hash, digits, alert, expires, standing: "open", pending: undefined };
    this.#entries.set(card.challenge, entry);
    this.#outside.emit({ type: "prompt", card });
  }

  /**
   * Where there are too many, drops the oldest ended entry, else the silent card that the server sent the longest ago:
   * under a flood the newest may be the person's own. False if all are answered, looked at or ring.
   */
  #makeRoom(): boolean {
    if (this.#entries.size < MAX_CARDS) {
      return true;
    }
    const unanswered = [...this.#entries].filter(([, entry]) => !entry.pending);
    const oldest =
      unanswered.find(([, entry]) => isEnded(entry)) ??
      unanswered.find(
        ([id, { standing, alert }]) => standing === "open" && !alert && id !== this.#lookedAt,
      );
    if (!oldest) {
      return false;
    }
    const [challenge, entry] = oldest;
    this.#entries.delete(challenge);
    this.#forget(challenge);
    if (!isEnded(entry)) {
      this.#outside.emit({ type: "gave_way", challenge });
    }
    return true;
  }

  #forget(id: string): void {
    const [oldest] = this.#forgotten;
    if (this.#forgotten.size >= MAX_FORGOTTEN && oldest !== undefined) {
      this.#forgotten.delete(oldest);
    }
    this.#forgotten.add(id);
  }

  #onSettled(settled: Settled): void {
    const id = challengeId(settled.challenge);
    const decision = decisionOf(settled.state);
    if (!decision) {
      throw new ProtocolFault("malformed");
    }
    const entry = this.#entries.get(id);
    if (entry) {
      this.#settle(id, entry, decision);
    } else {
      // overtook its prompt, or was decided before we came: not to be shown any more
      this.#forget(id);
    }
  }

  /** Takes a card away and says so once. */
  #settle(challenge: string, entry: Entry, decision: NonNullable<ReturnType<typeof decisionOf>>): void {
    const told = entry.standing === "told";
    entry.standing = "told";
    if (!told) {
      this.#outside.emit({ type: "settled", challenge, decision });
    }
  }

  #onAnswerResult(result: AnswerResult): void {
    const challenge = challengeId(result.challenge);
    const now = this.#outside.now();
    const entry = this.#entries.get(challenge);
    const pending = entry?.pending;
    // told twice, as after a resend: the first word stands
    if (!entry || !pending) {
      return;
    }
    if (result.result === Result.RETRY) {
      pending.resendAt = now + RESEND_MS * 2 ** Math.min(pending.tries, 3);
      pending.tries += 1;
      return;
    }
    entry.pending = undefined;
    const outcome = outcomeOf(result);
    if (!isEnded(entry) && (outcome === "late" || outcome === "refused")) {
      entry.standing = "ended";
    } else if (!isEnded(entry) && outcome === "withheld") {
      entry.standing = "withheld";
    }
    this.#outside.emit({ type: "answered", challenge, outcome });
    if (outcome !== "withheld" && outcome !== "late" && outcome !== "refused") {
      this.#settle(challenge, entry, outcome);
      if (outcome === "approved" && typeof pending.choice === "object") {
        this.#approvedAt = now;
      }
    }
    if (result.totpRebind && this.#approvedAt !== undefined) {
      this.#send({ case: "rebindTotp", value: {} });
    }
  }

  /**
   * Answers a challenge that was shown. It is sent now, or as soon as there is a connection. Challenges that ended
   * lately are answered too: the server says how they ended.
   */
  answer(challenge: string, choice: Choice): AnswerError | undefined {
    const entry = this.#entries.get(challenge);
    if (!entry) {
      return "unknown";
    }
    if (entry.pending) {
      return "in_flight";
    }
    let checked = choice;
    if (typeof choice === "object") {
      const number = typedNumber(choice.approve, entry.digits);
      if (number === undefined) {
        return "number";
      }
      checked = { approve: number };
    }
    entry.pending = { choice: checked, tries: 0, resendAt: this.#outside.now() };
    this.#then(() => this.#flush());
    return undefined;
  }

  /** A late "not me" to a challenge that an earlier page's life may have seen; `hash` is its card's. */
  reportLate(challenge: string, hash: Bytes): AnswerError | undefined {
    if (!this.#entries.has(challenge)) {
      if (!this.#makeRoom()) {
        return "in_flight";
      }
      const past: Entry = {
        hash,
        digits: 0,
        alert: false,
        expires: 0,
        standing: "told",
        pending: undefined,
      };
      this.#entries.set(challenge, past);
    }
    return this.answer(challenge, "report");
  }

  /** Which card the person looks at, if any: it doesn't give way to newer ones. */
  lookAt(challenge: string | undefined): void {
    this.#lookedAt = challenge;
  }

  /** The person opened the app: asks for silent challenges, now or as soon as there is a connection. */
  pull(): void {
    this.#wantsPull = true;
    this.#then(() => this.#flush());
  }

  /** When `onWake` has something to do, if ever. */
  nextWake(): number | undefined {
    let next: number | undefined;
    const sooner = (at: number | undefined) => {
      if (at !== undefined && (next === undefined || at < next)) {
        next = at;
      }
    };
    for (const entry of this.#entries.values()) {
      sooner(this.isOnline ? entry.pending?.resendAt : undefined);
      sooner(isEnded(entry) ? undefined : entry.expires + GRACE_MS);
    }
    return next;
  }

  /** Time has passed: sends again what is due, takes cards away whose time is over. */
  onWake(): void {
    const now = this.#outside.now();
    for (const [challenge, entry] of this.#entries) {
      if (!isEnded(entry) && now >= entry.expires + GRACE_MS) {
        entry.standing = "ended";
        this.#outside.emit({ type: "lapsed", challenge });
      }
    }
    this.#then(() => this.#flush());
  }

  /** The socket is gone, or couldn't be opened (`code` is undefined). */
  onClose(code: number | undefined): Next {
    const phase = this.#phase;
    this.#phase = { name: "closed" };
    this.#wire = undefined;
    const now = this.#outside.now();
    if (phase.name === "online" && now >= phase.since + HEALTHY_MS) {
      this.#backoff.reset();
    }
    for (const { pending } of this.#entries.values()) {
      if (pending) {
        pending.resendAt = undefined;
      }
    }
    const stop = code === undefined ? undefined : STOPS.get(code);
    if (stop) {
      return { stop };
    }
    if (code === CLOSE.tooMany) {
      this.#backoff.crowded();
    }
    const floor = this.#retryAfterMs;
    this.#retryAfterMs = 0;
    const retryInMs = this.#backoff.next(floor, this.#outside.random);
    return { retryInMs, notBeforeMs: Math.min(floor, retryInMs) };
  }

  #then(work: () => Promise<void>): void {
    this.#work = this.#work.then(work).catch(() => {
      // the count of answers could not be stored, so nothing may be sent
      this.#phase = { name: "closed" };
      this.#outside.emit({ type: "fault", fault: "not_saved" });
      this.#wire?.close(CLOSE.normal);
    });
  }

  /** Sends what waits, if there is a connection. */
  async #flush(): Promise<void> {
    if (this.isOnline && this.#wantsPull) {
      this.#wantsPull = false;
      this.#send({ case: "pull", value: {} });
    }
    for (const [id, entry] of this.#entries) {
      const { pending } = entry;
      if (this.isOnline && pending?.resendAt !== undefined && pending.resendAt <= this.#outside.now()) {
        pending.resendAt = undefined;
        await this.#sendAnswer(id, entry.hash, pending.choice);
      }
    }
  }

  /**
   * Signs and sends an answer under a counter of its own, even one that is sent again: a counter that the server
   * has seen would look like a copied key.
   */
  async #sendAnswer(id: string, hash: Bytes, choice: Choice): Promise<void> {
    const wire = this.#wire;
    const { device, key } = this.#identity;
    const number = typeof choice === "object" ? choice.approve : "";
    const decision = decisionCode(choice);
    const counter = await this.#outside.keeper.nextCounter();
    const signed = statements.answer({
      challenge: hash,
      device,
      decision,
      number,
      userVerified: false,
      counter,
    });
    const signature = await sign(key, signed);
    // lost with its socket: it is sent again after the next login
    if (wire && wire === this.#wire) {
      const challenge = fromHex(id);
      const value = { challenge, decision, number, userVerified: false, counter, signature };
      this.#send({ case: "answer", value });
    }
  }

  #send(frame: Frame): void {
    this.#wire?.send(encodeClientFrame(frame));
  }
}

export function encodeClientFrame(frame: Frame): Bytes {
  return encode(ClientFrame, { frame });
}

function isEnded(entry: Entry): boolean {
  return entry.standing === "ended" || entry.standing === "told";
}

const STOPS: ReadonlyMap<number, Stop> = new Map([
  [CLOSE.replaced, "replaced"],
  [CLOSE.revoked, "revoked"],
  [CLOSE.unauthenticated, "unauthenticated"],
  [CLOSE.version, "version"],
]);

function challengeId(bytes: Uint8Array): string {
  if (bytes.length !== 24) {
    throw new ProtocolFault("malformed");
  }
  return toHex(bytes);
}

function outcomeOf(result: AnswerResult): Outcome {
  switch (result.result) {
    case Result.WITHHELD:
      return "withheld";
    case Result.LATE:
      return "late";
    case Result.REFUSED:
      return "refused";
    case Result.SETTLED: {
      const decision = decisionOf(result.state);
      if (decision) {
        return decision;
      }
    }
  }
  throw new ProtocolFault("malformed");
}

function decisionCode(choice: Choice): statements.AnswerDecision {
  if (choice === "deny") {
    return statements.DENY;
  }
  return choice === "report" ? statements.REPORT : statements.APPROVE;
}
