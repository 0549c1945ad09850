/** Keeps one account connected: dials, comes back as the protocol says, and stops when it must. */

import { Connection, type Keeper } from "../core/connection.ts";
import type { AnswerError, Choice, ConnectionEvent, Stop } from "../core/event.ts";
import type { Bytes } from "../core/bytes.ts";
import { type Dialled, dial, LOGIN_WITHIN_MS } from "./socket.ts";
import type { Account } from "./store.ts";

export type Status =
  | { name: "connecting" }
  | { name: "online" }
  /** `at` is when it is tried again, by `performance.now()`; `notBefore` is what the server asked for. */
  | { name: "waiting"; at: number; notBefore: number }
  | { name: "stopped"; why: Stop | "wrong_server" };

/** Over how long the devices of a network that is back come back. */
const HURRY_MS = 1000;

export interface Told {
  event(event: ConnectionEvent): void;
  status(status: Status): void;
}

/** A number in [0, 1) that nobody can foresee: nothing secret hangs on it, but all browsers have it. */
function random(): number {
  const [word = 0] = crypto.getRandomValues(new Uint32Array(1));
  return word / 2 ** 32;
}

export class Session {
  readonly #server: string;
  readonly #connection: Connection;
  readonly #told: Told;
  #socket: Dialled | undefined;
  #status: Status = { name: "stopped", why: "replaced" };
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wake: ReturnType<typeof setTimeout> | undefined;
  /** A fault that trying again can't mend. */
  #fatal: Stop | "wrong_server" | undefined;

  constructor(account: Account, agent: string, keeper: Keeper, told: Told) {
    const { server, tenant, device, user, identity, key } = account;
    this.#server = server;
    this.#told = told;
    this.#connection = new Connection(
      { tenant, device, user, server: identity, key },
      {
        agent,
        keeper,
        now: () => performance.now(),
        random,
        emit: (event) => this.#onEvent(event),
      },
    );
  }

  get status(): Status {
    return this.#status;
  }

  /** Connects, unless it is connected: the person opened the page or wants it back. */
  start(): void {
    if (this.#status.name === "connecting" || this.#status.name === "online") {
      return;
    }
    this.#fatal = undefined;
    if (this.#status.name === "waiting") {
      this.#sooner(0);
    } else {
      this.#dial();
    }
  }

  /** The person opened the page, or asks: silent requests show only now. */
  pull(): void {
    this.start();
    this.#connection.pull();
  }

  answer(challenge: string, choice: Choice): AnswerError | undefined {
    const error = this.#connection.answer(challenge, choice);
    this.#schedule();
    return error;
  }

  lookAt(challenge: string | undefined): void {
    this.#connection.lookAt(challenge);
  }

  reportLate(challenge: string, hash: Bytes): AnswerError | undefined {
    const error = this.#connection.reportLate(challenge, hash);
    this.#schedule();
    return error;
  }

  /** Ends it for good. */
  end(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#wake);
    this.#socket?.abandon();
  }

  #set(status: Status): void {
    this.#status = status;
    this.#told.status(status);
  }

  #dial(): void {
    clearTimeout(this.#timer);
    this.#set({ name: "connecting" });
    this.#timer = setTimeout(() => this.#giveUp(), LOGIN_WITHIN_MS);
    this.#socket = dial(this.#server, {
      onOpen: (wire) => this.#connection.open(wire),
      onFrame: (wire, frame) => {
        this.#connection.onFrame(wire, frame);
        this.#schedule();
      },
      onClose: (code) => this.#onClose(code),
    });
  }

  #wait(at: number, notBefore: number): void {
    clearTimeout(this.#timer);
    this.#set({ name: "waiting", at, notBefore });
    this.#timer = setTimeout(() => this.#dial(), at - performance.now());
  }

  /** The network is back: no reason to wait much longer, but not all devices of it at once. */
  hurry(): void {
    this.#sooner(random() * HURRY_MS);
  }

  /** Waits no longer than that from now on, but for as long as the server asked. */
  #sooner(inMs: number): void {
    if (this.#status.name === "waiting") {
      const { at, notBefore } = this.#status;
      const soon = Math.max(performance.now(), notBefore) + inMs;
      this.#wait(Math.min(at, soon), notBefore);
    }
  }

  #giveUp(): void {
    this.#socket?.abandon();
    this.#onClose(undefined);
  }

  #onClose(code: number | undefined): void {
    clearTimeout(this.#timer);
    const next = this.#connection.onClose(code);
    const why = this.#fatal ?? ("stop" in next ? next.stop : undefined);
    if (why) {
      this.#set({ name: "stopped", why });
    } else if ("retryInMs" in next) {
      const now = performance.now();
      this.#wait(now + next.retryInMs, now + next.notBeforeMs);
    }
  }

  #onEvent(event: ConnectionEvent): void {
    if (event.type === "connected") {
      clearTimeout(this.#timer);
      this.#set({ name: "online" });
    } else if (event.type === "fault" && event.fault !== "malformed") {
      this.#fatal = event.fault;
    }
    this.#told.event(event);
  }

  /** Wakes the connection when it has something to do. */
  #schedule(): void {
    void this.#connection.idle().then(() => {
      clearTimeout(this.#wake);
      const at = this.#connection.nextWake();
      if (at !== undefined) {
        const wait = Math.max(0, at - performance.now());
        this.#wake = setTimeout(() => {
          this.#connection.onWake();
          this.#schedule();
        }, wait);
      }
    });
  }
}
