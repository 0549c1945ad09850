/**
 * What this browser keeps, in IndexedDB: accounts with their keys, the history, and a few settings.
 *
 * Keys are stored as `CryptoKey`s that can't be exported: the database holds no text of a secret.
 */

import type { Bytes } from "../core/bytes.ts";
import { StorageFault } from "../core/connection.ts";
import type { Outcome } from "../core/event.ts";
import type { Card } from "../core/card.ts";
import type { DeviceKey } from "../core/keys.ts";
import type { Totp } from "../core/totp.ts";

/** One enrolment of this browser. */
export interface Account {
  /** The device's id in hex. */
  id: string;
  server: string;
  identity: Bytes;
  tenant: Bytes;
  device: Bytes;
  user: string;
  organisation: string;
  deviceName: string;
  key: DeviceKey;
  /** Absent if the user already had a secret elsewhere. */
  totp: Totp | undefined;
  /** How many answers it has signed. */
  counter: number;
  enrolledAt: number;
}

/** How a request ended; kept for its owner, and so that "not me" can still be said. */
export interface Past {
  account: string;
  challenge: string;
  hash: Bytes;
  card: Pick<Card, "integrationName" | "origin" | "purpose" | "context" | "details">;
  outcome: Outcome | "lapsed";
  /** When it ended, by this device's clock, in ms since 1970. */
  at: number;
  reportedLate: boolean;
}

export type Settings = { language?: string; notify?: boolean };

/** Ended requests that are kept for each account: some weeks of a busy person. */
export const MAX_PAST = 100;

const NAME = "countersign";
const VERSION = 1;

function wanted<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(new StorageFault(String(request.error)));
  });
}

function done(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = () => reject(new StorageFault(String(transaction.error)));
    transaction.oncomplete = () => resolve();
    transaction.onabort = failed;
    transaction.onerror = failed;
  });
}

export class Store {
  readonly #db: IDBDatabase;

  private constructor(db: IDBDatabase) {
    this.#db = db;
  }

  static async open(): Promise<Store> {
    const opening = indexedDB.open(NAME, VERSION);
    opening.onupgradeneeded = () => {
      const db = opening.result;
      db.createObjectStore("accounts", { keyPath: "id" });
      const past = db.createObjectStore("past", { keyPath: ["account", "challenge"] });
      past.createIndex("by_time", ["account", "at"]);
      db.createObjectStore("settings");
    };
    return new Store(await wanted(opening));
  }

  #write(store: string, change: (store: IDBObjectStore) => void): Promise<void> {
    // strict: an answer leaves only when its counter is on disk
    const transaction = this.#db.transaction(store, "readwrite", { durability: "strict" });
    change(transaction.objectStore(store));
    return done(transaction);
  }

  async accounts(): Promise<Account[]> {
    const store = this.#db.transaction("accounts").objectStore("accounts");
    const accounts: Account[] = await wanted(store.getAll());
    return accounts.sort((a, b) => a.enrolledAt - b.enrolledAt);
  }

  add(account: Account): Promise<void> {
    return this.#write("accounts", (store) => store.add(account));
  }

  /** Forgets the account, its keys and its history. */
  async remove(id: string): Promise<void> {
    await this.#write("accounts", (store) => store.delete(id));
    await this.#write("past", (store) => store.delete(IDBKeyRange.bound([id], [id, []])));
  }

  /** Changes an account in one go: another tab of this browser may do the same. */
  async #change(id: string, change: (account: Account) => void): Promise<Account> {
    const transaction = this.#db.transaction("accounts", "readwrite", { durability: "strict" });
    const store = transaction.objectStore("accounts");
    const account: Account | undefined = await wanted(store.get(id));
    if (!account) {
      transaction.abort();
      throw new StorageFault("the account is gone");
    }
    change(account);
    store.put(account);
    await done(transaction);
    return account;
  }

  async nextCounter(id: string): Promise<bigint> {
    const account = await this.#change(id, (account) => {
      account.counter += 1;
    });
    return BigInt(account.counter);
  }

  async setTotp(id: string, totp: Totp): Promise<void> {
    await this.#change(id, (account) => {
      account.totp = totp;
    });
  }

  /** The ended requests of an account, newest first. */
  async past(account: string): Promise<Past[]> {
    const index = this.#db.transaction("past").objectStore("past").index("by_time");
    const past: Past[] = await wanted(index.getAll(IDBKeyRange.bound([account], [account, []])));
    return past.reverse();
  }

  /** Adds an ended request or changes it; beyond the bound the oldest are forgotten, those first that nobody answered. */
  async keep(past: Past): Promise<void> {
    await this.#write("past", (store) => store.put(past));
    const kept = await this.past(past.account);
    if (kept.length > MAX_PAST) {
      const unanswered = ({ outcome }: Past) => outcome === "lapsed" || outcome === "expired";
      const worth = [...kept.filter((past) => !unanswered(past)), ...kept.filter(unanswered)];
      const surplus = worth.slice(MAX_PAST);
      await this.#write("past", (store) => {
        for (const { account, challenge } of surplus) {
          store.delete([account, challenge]);
        }
      });
    }
  }

  async settings(): Promise<Settings> {
    const store = this.#db.transaction("settings").objectStore("settings");
    return (await wanted<Settings | undefined>(store.get("settings"))) ?? {};
  }

  saveSettings(settings: Settings): Promise<void> {
    return this.#write("settings", (store) => store.put(settings, "settings"));
  }
}
