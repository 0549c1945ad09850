/** From a ticket to an account, without I/O of its own. */

import { type Bytes, copy } from "./bytes.ts";
import { encodeClientFrame, type Wire } from "./connection.ts";
import { type Enrolled, ServerFrame, type ServerHello } from "./device.ts";
import {
  checkHello,
  CLOSE,
  type Fault,
  type Hello,
  MAX_FRAME,
  ProtocolFault,
  VERSION,
} from "./hello.ts";
import { type DeviceKey, fingerprint, sign } from "./keys.ts";
import { MAX_DIGITS, typedNumber } from "./number.ts";
import * as statements from "./statements.ts";
import { plain } from "./text.ts";
import { type Ticket, writeCode } from "./ticket.ts";
import type { TotpParameters } from "./totp.ts";
import { decode } from "./wire.ts";

const MAX_NAME = 64;
/** The longest reason of a close (RFC 6455 §5.5). */
const MAX_REASON = 123;

/** What the server says about the new device. */
export interface NewAccount {
  server: string;
  /** The identity hash to pin. */
  identity: Bytes;
  tenant: Bytes;
  device: Bytes;
  user: string;
  organisation: string;
  deviceName: string;
  key: DeviceKey;
  totp: TotpParameters | undefined;
}

export type EnrolEvent =
  /**
   * Nothing but this fingerprint says who the server is. The connection is being closed, since a person may compare
   * for longer than the server waits: on yes, call `confirmServer` and open a new one.
   */
  | { type: "confirm_server"; fingerprint: string }
  /** The person has to type a number. */
  | { type: "number"; digits: number }
  /** Done: the account must be stored; the connection is being closed. */
  | { type: "enrolled"; account: NewAccount }
  | { type: "fault"; fault: Fault };

/** Why an enrolment ended without an account. */
export type EnrolError =
  | "ticket"
  | "refused"
  | "too_many"
  | "unavailable"
  | "version"
  | "lost"
  | Fault;

/** What the close of a socket means for an enrolment that isn't done. */
export function enrolError(code: number | undefined): EnrolError {
  switch (code) {
    case CLOSE.ticket:
      return "ticket";
    case CLOSE.version:
      return "version";
    case CLOSE.tooMany:
      return "too_many";
    case CLOSE.unavailable:
    case CLOSE.restart:
      return "unavailable";
    case CLOSE.malformed:
    case CLOSE.unauthenticated:
    case CLOSE.revoked:
    case CLOSE.replaced:
      return "refused";
    default:
      return "lost";
  }
}

/** The server's words on a close, safe to show. */
export function closeReason(reason: string): string {
  return plain(reason, MAX_REASON);
}

type Phase =
  | { name: "closed" }
  | { name: "greeting" }
  | { name: "claimed"; hello: Hello }
  | { name: "number"; hello: Hello; digits: number }
  | { name: "confirmed"; hello: Hello };

export class Enrolment {
  readonly #ticket: Ticket;
  readonly #key: DeviceKey;
  readonly #deviceName: string;
  readonly #agent: string;
  readonly #emit: (event: EnrolEvent) => void;
  #identity: Bytes | undefined;
  #shown: Bytes | undefined;
  #phase: Phase = { name: "closed" };
  #wire: Wire | undefined;
  #work: Promise<void> = Promise.resolve();

  constructor(
    ticket: Ticket,
    key: DeviceKey,
    device: { name: string; agent: string },
    emit: (event: EnrolEvent) => void,
  ) {
    this.#ticket = ticket;
    this.#identity = ticket.kind === "link" ? ticket.identity : undefined;
    this.#key = key;
    this.#deviceName = plain(device.name, MAX_NAME);
    this.#agent = device.agent;
    this.#emit = emit;
  }

  /** Resolves when everything that was asked of it so far is done. */
  idle(): Promise<void> {
    return this.#work;
  }

  /** A socket is open: greets the server. */
  open(wire: Wire): void {
    this.#wire = wire;
    this.#phase = { name: "greeting" };
    const value = { minVersion: VERSION, maxVersion: VERSION, agent: this.#agent };
    wire.send(encodeClientFrame({ case: "hello", value }));
  }

  /** The person says that the server whose fingerprint was shown is the right one. */
  confirmServer(): void {
    this.#identity ??= this.#shown;
  }

  /** The person typed the number; false if it can't be it, and nothing was sent. */
  confirmNumber(typed: string): boolean {
    const phase = this.#phase;
    if (phase.name !== "number") {
      return false;
    }
    const number = typedNumber(typed, phase.digits);
    if (number === undefined) {
      return false;
    }
    this.#then(() => this.#confirm(phase.hello, number));
    return true;
  }

  /** A message arrived. */
  onFrame(frame: Uint8Array): void {
    this.#then(() => this.#handle(frame));
  }

  #then(work: () => Promise<void>): void {
    this.#work = this.#work.then(async () => {
      try {
        await work();
      } catch (error) {
        const fault = error instanceof ProtocolFault ? error : new ProtocolFault("malformed");
        this.#phase = { name: "closed" };
        this.#emit({ type: "fault", fault: fault.fault });
        this.#wire?.close(fault.code);
      }
    });
  }

  async #handle(bytes: Uint8Array): Promise<void> {
    const phase = this.#phase;
    if (phase.name === "closed") {
      return;
    }
    if (bytes.length > MAX_FRAME) {
      throw new ProtocolFault("malformed");
    }
    const { frame } = decode(ServerFrame, bytes);
    if (frame.case === undefined || frame.case === "goodbye") {
      return;
    }
    if (phase.name === "greeting" && frame.case === "hello") {
      await this.#onHello(frame.value);
    } else if (phase.name === "claimed" && frame.case === "enrolPending") {
      await this.#onPending(phase.hello, frame.value.digits);
    } else if (phase.name === "confirmed" && frame.case === "enrolled") {
      const account = this.#account(phase.hello, frame.value);
      this.#phase = { name: "closed" };
      this.#emit({ type: "enrolled", account });
    } else {
      throw new ProtocolFault("malformed");
    }
  }

  async #onHello(shown: ServerHello): Promise<void> {
    const hello = await checkHello(shown, this.#identity);
    if (!this.#identity) {
      this.#shown = hello.identity;
      this.#phase = { name: "closed" };
      this.#emit({ type: "confirm_server", fingerprint: fingerprint(hello.identity) });
      this.#wire?.close(CLOSE.normal);
      return;
    }
    const { algorithm, publicKey } = this.#key;
    const statement = statements.claim({
      ticket: await this.#ticketHash(),
      identity: hello.identity,
      nonce: hello.nonce,
      key: { algorithm, bytes: publicKey },
    });
    const proof =
      this.#ticket.kind === "link"
        ? { case: "secret" as const, value: this.#ticket.secret }
        : {
            case: "code" as const,
            value: { user: this.#ticket.user.trim(), code: writeCode(this.#ticket.code) },
          };
    const signature = await sign(this.#key, statement);
    const deviceName = this.#deviceName;
    const value = { proof, algorithm, publicKey, deviceName, signature };
    this.#phase = { name: "claimed", hello };
    this.#wire?.send(encodeClientFrame({ case: "enrolClaim", value }));
  }

  async #onPending(hello: Hello, digits: number): Promise<void> {
    if (digits > MAX_DIGITS) {
      throw new ProtocolFault("malformed");
    }
    if (digits === 0) {
      return this.#confirm(hello, "");
    }
    this.#phase = { name: "number", hello, digits };
    this.#emit({ type: "number", digits });
  }

  async #confirm(hello: Hello, number: string): Promise<void> {
    this.#phase = { name: "confirmed", hello };
    const statement = statements.confirm(await this.#ticketHash(), hello.nonce, number);
    const signature = await sign(this.#key, statement);
    this.#wire?.send(encodeClientFrame({ case: "enrolConfirm", value: { number, signature } }));
  }

  #ticketHash(): Promise<Bytes> {
    return this.#ticket.kind === "link"
      ? statements.ticketSecretHash(this.#ticket.secret)
      : statements.ticketCodeHash(this.#ticket.user, this.#ticket.code);
  }

  #account(hello: Hello, enrolled: Enrolled): NewAccount {
    if (enrolled.tenant.length !== 16 || enrolled.device.length !== 16) {
      throw new ProtocolFault("malformed");
    }
    return {
      server: this.#ticket.server,
      identity: hello.identity,
      tenant: copy(enrolled.tenant),
      device: copy(enrolled.device),
      user: enrolled.user,
      organisation: plain(enrolled.organisation, 200),
      deviceName: this.#deviceName,
      key: this.#key,
      totp: enrolled.totp,
    };
  }
}
