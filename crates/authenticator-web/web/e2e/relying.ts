/** Who sends browsers to sign in: a program that speaks REST, and a stand-in for Entra. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server as HttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import type { Demo } from "./demo.ts";

async function listen(server: HttpServer): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** What a browser brought back. */
export interface Brought {
  challenge: string | null;
  code: string | null;
  /** How often a browser came. */
  times: number;
}

/** A program whose browsers sign in on hosted pages. */
export class Shop {
  readonly #demo: Demo;
  readonly #server: HttpServer;
  readonly #key: string;
  readonly #url: string;
  #times = 0;
  #session = "";
  last: Brought = { challenge: null, code: null, times: 0 };

  private constructor(demo: Demo, server: HttpServer, key: string, url: string) {
    [this.#demo, this.#server, this.#key, this.#url] = [demo, server, key, url];
    server.on("request", (request, response) => {
      const { pathname, searchParams } = new URL(request.url ?? "/", url);
      if (pathname === "/back") {
        this.#times += 1;
        const [challenge, code] = ["challenge", "return_code"].map((name) => searchParams.get(name));
        this.last = { challenge: challenge ?? null, code: code ?? null, times: this.#times };
      }
      response.setHeader("content-type", "text/html; charset=utf-8");
      response.end("<!doctype html><html lang=en><title>Shop</title><link rel=icon href='data:,'><h1>Back at the shop</h1>");
    });
  }

  static async open(demo: Demo): Promise<Shop> {
    const server = createServer();
    const url = await listen(server);
    const more = ["--verifies-first-factor", "--return-url", `${url}/back`];
    const made = await demo.admin("integration", "create", "--name", "Web shop", ...more);
    return new Shop(demo, server, made.api_key, url);
  }

  async #post(path: string, body: object): Promise<Response> {
    return fetch(`${await this.#demo.page()}/v1/challenges${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${this.#key}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  }

  /** The page on which somebody signs in. */
  async page(user: string): Promise<string> {
    this.#session = `shop-browser-session-${Date.now()}`;
    const context = { browser_session: this.#session };
    const made = await this.#post("", { user: `name:${user}`, context, return_url: `${this.#url}/back` });
    assert.equal(made.status, 201);
    return ((await made.json()) as { page_url: string }).page_url;
  }

  /** Redeems what was brought back: `200`, or the status and code of a refusal. */
  async redeem(code: string | null = this.last.code): Promise<string> {
    const body = { browser_session: this.#session, ...(code === null ? {} : { return_code: code }) };
    const answer = await this.#post(`/${this.last.challenge}/redeem`, body);
    const told = (await answer.json()) as { code?: string };
    return answer.ok ? `${answer.status}` : `${answer.status} ${told.code}`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

/** `countersign entra fake`, registered for a user of the demo. */
export class FakeEntra {
  readonly #child: ChildProcess;
  readonly url: string;

  private constructor(child: ChildProcess, url: string) {
    [this.#child, this.url] = [child, url];
  }

  static async start(demo: Demo, user: string, name = "Entra", more: string[] = []): Promise<FakeEntra> {
    // its address is registered before it is there
    const probe = createServer();
    const url = await listen(probe);
    await new Promise((closed) => probe.close(closed));
    const directory = "11111111-2222-4333-8444-555555555555";
    const app = "66666666-7777-4888-9999-000000000000";
    const person = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";
    const kind = ["--kind", "entra", "--cloud", "fake", "--fake", url];
    const ids = ["--directory-id", directory, "--app-id", app];
    const made = await demo.admin("integration", "create", "--name", name, ...kind, ...ids, ...more);
    const subject = ["--subject", `${directory}:${person}`];
    await demo.admin("link", "create", "--integration", name, ...subject, "--user", user);
    const provider = `${await demo.page()}/entra`;
    const listening = ["--listen", new URL(url).host, "--provider", provider];
    const args = ["entra", "fake", ...listening, "--client-id", made.client_id, "--json"];
    const child = spawn(process.env.COUNTERSIGN ?? "", args, { stdio: ["ignore", "pipe", "inherit"] });
    assert.ok(child.stdout);
    const [line] = await once(createInterface({ input: child.stdout }), "line");
    assert.match(line, /^open http/);
    return new FakeEntra(child, url);
  }

  async stop(): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGINT");
    await ended;
  }
}

/** `countersign serve` on a folder of its own, with nothing beside it. */
export class Server {
  readonly #child: ChildProcess;
  readonly url: string;

  private constructor(child: ChildProcess, url: string) {
    [this.#child, this.url] = [child, url];
  }

  static async start(folder: string): Promise<Server> {
    const admin = { ...process.env, COUNTERSIGN__ADMIN__LISTEN: "127.0.0.1:0" };
    const args = ["serve", "--data", `${folder}/data`, "--listen", "127.0.0.1:0"];
    const child = spawn(process.env.COUNTERSIGN ?? "", args, { stdio: ["ignore", "pipe", "ignore"], env: admin });
    assert.ok(child.stdout);
    const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
    return new Server(child, line.replace("listening on ", ""));
  }

  async stop(): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    await ended;
  }
}
