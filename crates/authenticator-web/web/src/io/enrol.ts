/** An enrolment over sockets. */

import { Enrolment, type EnrolError, type EnrolEvent, enrolError } from "../core/enrolment.ts";
import { generateKey } from "../core/keys.ts";
import type { Ticket } from "../core/ticket.ts";
import { importTotp } from "../core/totp.ts";
import { toHex } from "../core/bytes.ts";
import { type Dialled, dial } from "./socket.ts";
import type { Account } from "./store.ts";

export type EnrolStep =
  | { name: "connecting" }
  | { name: "server"; fingerprint: string }
  | { name: "number"; digits: number }
  | { name: "confirming" }
  | { name: "failed"; why: EnrolError | "no_key" | "not_saved" }
  | { name: "done"; account: Account };

export class Enrolling {
  readonly #told: (step: EnrolStep) => void;
  readonly #save: (account: Account) => Promise<void>;
  readonly #server: string;
  #enrolment: Enrolment | undefined;
  #socket: Dialled | undefined;
  #over = false;

  /** `save` keeps the account before success is shown. */
  constructor(
    ticket: Ticket,
    device: { name: string; agent: string },
    save: (account: Account) => Promise<void>,
    told: (step: EnrolStep) => void,
  ) {
    this.#told = told;
    this.#save = save;
    this.#server = ticket.server;
    void this.#begin(ticket, device);
  }

  async #begin(ticket: Ticket, device: { name: string; agent: string }): Promise<void> {
    this.#told({ name: "connecting" });
    try {
      const key = await generateKey();
      this.#enrolment = new Enrolment(ticket, key, device, (event) => void this.#onEvent(event));
      this.#connect();
    } catch {
      this.#fail("no_key");
    }
  }

  #connect(): void {
    this.#socket = dial(this.#server, {
      onOpen: (wire) => this.#enrolment?.open(wire),
      onFrame: (_, frame) => this.#enrolment?.onFrame(frame),
      onClose: (code) => {
        // a last frame may still be on its way through the checks
        void this.#enrolment?.idle().then(() => this.#fail(enrolError(code)));
      },
    });
  }

  /** The person has compared the fingerprint. */
  confirmServer(): void {
    this.#enrolment?.confirmServer();
    this.#told({ name: "connecting" });
    this.#connect();
  }

  /** False if it can't be the number; nothing was sent. */
  confirmNumber(typed: string): boolean {
    const sent = this.#enrolment?.confirmNumber(typed) ?? false;
    if (sent) {
      this.#told({ name: "confirming" });
    }
    return sent;
  }

  /** The person changed their mind. */
  abandon(): void {
    this.#over = true;
    this.#socket?.abandon();
  }

  async #onEvent(event: EnrolEvent): Promise<void> {
    switch (event.type) {
      case "confirm_server":
        this.#socket?.abandon();
        return this.#told({ name: "server", fingerprint: event.fingerprint });
      case "number":
        return this.#told({ name: "number", digits: event.digits });
      case "fault":
        return this.#fail(event.fault);
      case "enrolled":
        return this.#keep(event);
    }
  }

  async #keep({ account: made }: Extract<EnrolEvent, { type: "enrolled" }>): Promise<void> {
    this.#over = true;
    this.#socket?.abandon();
    try {
      const totp = made.totp && (await importTotp(made.totp));
      const id = toHex(made.device);
      const account = { ...made, totp, id, counter: 0, enrolledAt: Date.now() };
      await this.#save(account);
      this.#told({ name: "done", account });
    } catch {
      this.#told({ name: "failed", why: "not_saved" });
    }
  }

  #fail(why: EnrolError | "no_key"): void {
    if (!this.#over) {
      this.#over = true;
      this.#socket?.abandon();
      this.#told({ name: "failed", why });
    }
  }
}
