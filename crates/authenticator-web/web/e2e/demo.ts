/** `countersign demo` in a process of its own, as a person starts it. */

import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createInterface } from "node:readline";

const SOON_MS = 30_000;

export class Demo {
  readonly #child: ChildProcess;
  #shown = "";
  #watchers = new Set<() => void>();

  private constructor(child: ChildProcess) {
    this.#child = child;
    assert.ok(child.stdout);
    createInterface({ input: child.stdout }).on("line", (line) => {
      this.#shown += `${line}\n`;
      for (const watcher of this.#watchers) {
        watcher();
      }
    });
  }

  static async start(): Promise<Demo> {
    const child = spawn(program(), ["demo", "--listen", "127.0.0.1:0"], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const demo = new Demo(child);
    await demo.shows(/go away at the end/);
    return demo;
  }

  /** Waits until what was shown so far matches, and answers with the first group. */
  async shows(pattern: RegExp, after = 0): Promise<string> {
    const found = () => pattern.exec(this.#shown.slice(after));
    const match = await new Promise<RegExpExecArray>((resolve, reject) => {
      const look = () => {
        const match = found();
        if (match) {
          clearTimeout(timer);
          this.#watchers.delete(look);
          resolve(match);
        }
      };
      const timer = setTimeout(() => {
        this.#watchers.delete(look);
        reject(new Error(`never shown: ${pattern} in\n${this.#shown}`));
      }, SOON_MS);
      this.#watchers.add(look);
      look();
    });
    return match[1] ?? match[0];
  }

  /** How much was shown so far: a place to look from. */
  get length(): number {
    return this.#shown.length;
  }

  /** The sign-in page. */
  page(): Promise<string> {
    return this.shows(/Open (http:\/\/\S+)\/ in a browser/);
  }

  /** The link that makes a browser an authenticator. */
  link(): Promise<string> {
    return this.shows(/(http:\/\/\S+\/enrol#v1\.\S+)/);
  }

  /** The number to type into the page that opened the link. */
  number(after = 0): Promise<string> {
    return this.shows(/Type there: (\d+)/, after);
  }

  type(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** An administrator's command against the running demo. */
  async admin(...command: string[]): Promise<any> {
    return JSON.parse(await this.#run("admin", ...command));
  }

  /** How many events of a type the sign-in log of the demo's user has. */
  async events(type: string): Promise<number> {
    const log = await this.#run("events", "--user", "demo", "--type", type);
    return log.split("\n").filter((line) => line !== "").length;
  }

  async #run(command: string, ...more: string[]): Promise<string> {
    const data = await this.shows(/log are in (\S+)/);
    const args = [command, "--json", "--data", `${data}/data`, ...more];
    return execFileSync(program(), args, { encoding: "utf8" });
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.type("q");
    const cut = setTimeout(() => this.#child.kill("SIGKILL"), SOON_MS);
    await ended;
    clearTimeout(cut);
  }
}

function program(): string {
  assert.ok(process.env.COUNTERSIGN);
  return process.env.COUNTERSIGN;
}
