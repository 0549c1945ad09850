/** What the page knows and does: accounts, cards, history, enrolment. The views only show it. */

import type { Card, PromptFault } from "./core/card.ts";
import type { AnswerError, Choice, ConnectionEvent, Decision, Notice, Outcome } from "./core/event.ts";
import type { Ticket } from "./core/ticket.ts";
import { importTotp } from "./core/totp.ts";
import { Enrolling, type EnrolStep } from "./io/enrol.ts";
import { Bell } from "./io/bell.ts";
import { Session, type Status } from "./io/session.ts";
import type { Account, Past, Settings, Store } from "./io/store.ts";

/** A live request. */
export interface Live {
  account: string;
  card: Card;
  /** What is on its way, or what the server said so far. */
  standing: "open" | "sending" | "withheld";
}

/** What the person is told about a request that ended. */
export interface Ended {
  card: Card;
  account: string;
  outcome: Outcome;
}

/** A line that goes away when it is dismissed. */
export interface Message {
  id: number;
  text:
    | { kind: "notice"; notice: Notice }
    | { kind: "gone"; how: Decision | "lapsed"; name: string }
    | { kind: "dropped"; fault: PromptFault }
    | { kind: "totp"; account: string }
    | { kind: "reported"; ok: boolean };
}

/** How many lines are kept. */
const MAX_MESSAGES = 4;
/** Ends that nobody decided: whoever is about to answer hears of them. */
const OVER: ReadonlySet<Decision | "lapsed"> = new Set(["lapsed", "expired", "cancelled", "superseded"]);
/** How long "not me" can be said afterwards: the server takes it for so long. */
export const LATE_REPORT_MS = 24 * 60 * 60 * 1000;

export class Model {
  accounts: Account[] = [];
  readonly status = new Map<string, Status>();
  /** The newest first: of many, the one that a person started a moment ago. */
  live: Live[] = [];
  /** Which of `live` is looked at; undefined where there is none, or several to choose from. */
  current: string | undefined;
  ended: Ended | undefined;
  past: Past[] = [];
  messages: Message[] = [];
  enrolling: EnrolStep | undefined;
  settings: Settings;
  /** When the last pull was answered, if nothing came. */
  pulledEmpty = false;

  readonly #store: Store;
  readonly #agent: string;
  readonly #bell: Bell;
  readonly #sessions = new Map<string, Session>();
  readonly #answered = new Set<string>();
  readonly #late = new Set<string>();
  /** Whether the person chose what is looked at, or began to type its number: nothing else takes its place. */
  #chosen = false;
  readonly #watchers = new Set<() => void>();
  #enrolment: Enrolling | undefined;
  #nextMessage = 0;

  private constructor(store: Store, settings: Settings, agent: string, bell: Bell) {
    this.#store = store;
    this.settings = settings;
    this.#agent = agent;
    this.#bell = bell;
  }

  static async open(store: Store, agent: string): Promise<Model> {
    const model = new Model(store, await store.settings(), agent, new Bell());
    for (const account of await store.accounts()) {
      model.#serve(account);
      model.past.push(...(await store.past(account.id)));
    }
    model.#sortPast();
    return model;
  }

  /** Calls back after every change; the result ends that. */
  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  #changed(): void {
    this.#bell.waiting(this.live.filter(({ standing }) => standing === "open").length);
    for (const watcher of this.#watchers) {
      watcher();
    }
  }

  #serve(account: Account): void {
    this.accounts.push(account);
    const keeper = {
      nextCounter: () => this.#store.nextCounter(account.id),
      saveTotp: async (given: Parameters<typeof importTotp>[0]) => {
        const totp = await importTotp(given);
        if (totp) {
          await this.#store.setTotp(account.id, totp);
          account.totp = totp;
        }
        return totp !== undefined;
      },
    };
    const session = new Session(account, this.#agent, keeper, {
      event: (event) => this.#onEvent(account, event),
      status: (status) => {
        this.status.set(account.id, status);
        if (status.name === "stopped" && status.why !== "replaced") {
          this.#forget(account.id);
        }
        this.#changed();
      },
    });
    this.#sessions.set(account.id, session);
  }

  account(id: string): Account | undefined {
    return this.accounts.find((account) => account.id === id);
  }

  /** The person opened the page or pressed refresh: connects what waits, and shows what did not ring. */
  pull(): void {
    this.pulledEmpty = false;
    for (const session of this.#sessions.values()) {
      session.pull();
    }
    this.#changed();
  }

  /** Connects without asking for silent requests: the page is there, but nobody looks at it. */
  connect(): void {
    for (const session of this.#sessions.values()) {
      session.start();
    }
  }

  /** The browser says that there is a network again. */
  hurry(): void {
    for (const session of this.#sessions.values()) {
      session.hurry();
    }
  }

  /** The person wants an account here that is open in another window. */
  takeOver(id: string): void {
    this.#sessions.get(id)?.pull();
  }

  #onEvent(account: Account, event: ConnectionEvent): void {
    switch (event.type) {
      case "prompt":
        this.#onPrompt(account.id, event.card);
        break;
      case "answered":
        this.#onAnswered(event.challenge, event.outcome);
        break;
      case "settled":
        this.#onGone(event.challenge, event.decision);
        break;
      case "lapsed":
        this.#onGone(event.challenge, "lapsed");
        break;
      case "gave_way":
        this.#gaveWay(event.challenge);
        break;
      case "pulled":
        if (this.ended && (this.live[0]?.card.createdAt ?? 0) > this.ended.card.createdAt) {
          // the person asked for what came after it
          this.ended = undefined;
        }
        this.#offer();
        this.pulledEmpty = event.prompts === 0 && this.live.length === 0;
        break;
      case "notice":
        this.#say({ kind: "notice", notice: event.notice });
        break;
      case "dropped":
        this.#say({ kind: "dropped", fault: event.fault });
        break;
      case "totp_rebound":
        this.#say({ kind: "totp", account: this.nameOf(account.id) });
        break;
      case "connected":
      case "fault":
        break;
    }
    this.#changed();
  }

  #onPrompt(account: string, card: Card): void {
    this.live.push({ account, card, standing: "open" });
    this.live.sort((a, b) => b.card.createdAt - a.card.createdAt);
    this.pulledEmpty = false;
    if (this.live.length === 1) {
      this.#lookAt(card.challenge);
      this.ended = undefined;
    }
    if (card.alert) {
      this.#bell.ring(card.challenge, this.settings.notify ?? false);
    }
  }

  #onAnswered(challenge: string, outcome: Outcome): void {
    if (this.#late.delete(challenge)) {
      void this.#onLateReport(challenge, outcome);
      return;
    }
    const live = this.live.find(({ card }) => card.challenge === challenge);
    if (!live) {
      return;
    }
    this.#answered.add(challenge);
    if (outcome === "withheld") {
      live.standing = "withheld";
    } else if (outcome === "late" || outcome === "refused") {
      this.#end(live, outcome);
      this.ended = { card: live.card, account: live.account, outcome };
    }
  }

  /** A request was decided, here or elsewhere: its card goes away. */
  #onGone(challenge: string, how: Decision | "lapsed"): void {
    const live = this.live.find(({ card }) => card.challenge === challenge);
    if (!live) {
      return;
    }
    const here = this.#answered.delete(challenge) && live.standing !== "withheld";
    const inUse = this.current === challenge && this.#chosen;
    this.#end(live, how);
    const { account, card } = live;
    if (here && how !== "lapsed") {
      this.ended = { card, account, outcome: how };
    } else if (inUse && OVER.has(how)) {
      this.ended = { card, account, outcome: how === "lapsed" ? "expired" : how };
    } else if (card.alert || !OVER.has(how)) {
      // of a flood that nobody looked at, not a line each
      this.#say({ kind: "gone", how, name: live.card.integrationName });
    }
  }

  /** A silent card that nobody looked at goes away: nothing that the person did ended, so nothing is said. */
  #gaveWay(challenge: string): void {
    this.live = this.live.filter(({ card }) => card.challenge !== challenge);
  }

  /** An account that can't answer any more has nothing that waits. */
  #forget(account: string): void {
    for (const { card } of this.live.filter((live) => live.account === account)) {
      this.#bell.quiet(card.challenge);
    }
    this.live = this.live.filter((live) => live.account !== account);
    // not another one under the fingers that type a number
    const wasChosen = this.#chosen && !this.shown;
    if (!this.shown) {
      this.#lookAt(undefined);
    }
    if (!wasChosen) {
      this.#offer();
    }
  }

  #lookAt(challenge: string | undefined): void {
    this.current = challenge;
    this.#chosen = false;
    for (const session of this.#sessions.values()) {
      session.lookAt(challenge);
    }
  }

  /** Shows what there is: the only request, or all of them, to choose from. */
  #offer(): void {
    if (!this.#chosen) {
      const [only, ...others] = this.live;
      this.#lookAt(others.length === 0 ? only?.card.challenge : undefined);
    }
  }

  #end({ account, card }: Live, outcome: Past["outcome"]): void {
    this.live = this.live.filter((live) => live.card !== card);
    this.#bell.quiet(card.challenge);
    if (this.current === card.challenge) {
      const wasChosen = this.#chosen;
      this.#lookAt(undefined);
      // not another one under the fingers that type this one's number
      if (!wasChosen) {
        this.#offer();
      }
    }
    const { integrationName, origin, purpose, context, details } = card;
    void this.#keep({
      account,
      challenge: card.challenge,
      hash: card.hash,
      card: { integrationName, origin, purpose, context, details },
      outcome,
      at: Date.now(),
      reportedLate: false,
    });
  }

  async #keep(past: Past): Promise<void> {
    this.past = this.past.filter(
      ({ account, challenge }) => account !== past.account || challenge !== past.challenge,
    );
    this.past.push(past);
    this.#sortPast();
    this.#changed();
    await this.#store.keep(past);
  }

  #sortPast(): void {
    this.past.sort((a, b) => b.at - a.at);
  }

  /** The request that is looked at. */
  get shown(): Live | undefined {
    return this.live.find(({ card }) => card.challenge === this.current);
  }

  /** Looks at this request, or at all, to choose from. */
  choose(challenge: string | undefined): void {
    this.#lookAt(challenge);
    this.#chosen = challenge !== undefined;
    this.#changed();
  }

  /** The person is at the request that is looked at: types, scans, is asked something. */
  hold(): void {
    this.#chosen = true;
  }

  answer(challenge: string, choice: Choice): AnswerError | undefined {
    const live = this.live.find(({ card }) => card.challenge === challenge);
    const error = live && this.#sessions.get(live.account)?.answer(challenge, choice);
    if (live && !error) {
      live.standing = "sending";
      this.ended = undefined;
      this.#changed();
    }
    return error;
  }

  /** "Not me", said afterwards. */
  reportLate(past: Past): void {
    this.#late.add(past.challenge);
    const error = this.#sessions.get(past.account)?.reportLate(past.challenge, past.hash);
    if (error) {
      this.#late.delete(past.challenge);
      this.#say({ kind: "reported", ok: false });
    }
    this.#changed();
  }

  isReporting(past: Past): boolean {
    return this.#late.has(past.challenge);
  }

  async #onLateReport(challenge: string, outcome: Outcome): Promise<void> {
    const past = this.past.find((past) => past.challenge === challenge);
    const ok = outcome !== "refused" && outcome !== "late";
    if (past && ok) {
      await this.#keep({ ...past, reportedLate: true });
    }
    this.#say({ kind: "reported", ok });
    this.#changed();
  }

  /** Closes what was said about an ended request. */
  dismissEnded(): void {
    this.ended = undefined;
    this.#offer();
    this.#changed();
  }

  #say(text: Message["text"]): void {
    this.#nextMessage += 1;
    this.messages = [...this.messages, { id: this.#nextMessage, text }];
    if (this.messages.length > MAX_MESSAGES) {
      // what the server says comes once: it goes last
      const oldest = this.messages.slice(0, -1).findIndex(({ text }) => text.kind !== "notice");
      this.messages.splice(Math.max(oldest, 0), 1);
    }
  }

  dismiss(id: number): void {
    this.messages = this.messages.filter((message) => message.id !== id);
    this.#changed();
  }

  /** What an account is called: the user, and the organisation where that is needed to tell them apart. */
  nameOf(id: string): string {
    const account = this.account(id);
    if (!account) {
      return "";
    }
    return account.organisation ? `${account.user} (${account.organisation})` : account.user;
  }

  enrol(ticket: Ticket, deviceName: string): void {
    this.#enrolment?.abandon();
    const device = { name: deviceName, agent: this.#agent };
    const save = async (account: Account) => {
      await this.#store.add(account);
      this.#serve(account);
      this.#sessions.get(account.id)?.pull();
      // without it a browser that runs out of room may delete the key
      void navigator.storage?.persist?.();
    };
    this.#enrolment = new Enrolling(ticket, device, save, (step) => {
      this.enrolling = step;
      this.#changed();
    });
  }

  confirmServer(): void {
    this.#enrolment?.confirmServer();
  }

  confirmEnrolment(number: string): boolean {
    return this.#enrolment?.confirmNumber(number) ?? false;
  }

  leaveEnrolment(): void {
    this.#enrolment?.abandon();
    this.#enrolment = undefined;
    this.enrolling = undefined;
    this.#changed();
  }

  async remove(id: string): Promise<void> {
    this.#sessions.get(id)?.end();
    this.#sessions.delete(id);
    this.status.delete(id);
    this.accounts = this.accounts.filter((account) => account.id !== id);
    this.live = this.live.filter((live) => live.account !== id);
    this.past = this.past.filter((past) => past.account !== id);
    if (!this.shown) {
      this.#lookAt(undefined);
      this.#offer();
    }
    this.#changed();
    await this.#store.remove(id);
  }

  async set(settings: Settings): Promise<void> {
    this.settings = { ...this.settings, ...settings };
    this.#changed();
    await this.#store.saveSettings(this.settings);
  }
}

