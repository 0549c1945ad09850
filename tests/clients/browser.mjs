// A browser without scripts, for one origin: keeps cookies, follows redirects there, reads the page's forms.

import { request } from "node:http";

export class Browser {
  #origin;
  #cookies = new Map();

  constructor(origin) {
    this.#origin = origin;
  }

  // As a browser goes to a page; fetch would say that a script asks.
  async #go(url, { method = "GET", fields, site = "none" } = {}) {
    const headers = { accept: "text/html", "sec-fetch-mode": "navigate", "sec-fetch-site": site };
    // none of our cookies goes along with a form from another site
    if ((method === "GET" || site === "same-origin") && this.#cookies.size) {
      headers.cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    }
    const body = fields?.toString();
    if (body !== undefined) headers["content-type"] = "application/x-www-form-urlencoded";
    const response = await new Promise((resolve, reject) => {
      const sending = request(url, { method, headers }, resolve);
      sending.on("error", reject);
      sending.end(body);
    });
    for (const set of response.headers["set-cookie"] ?? []) {
      const [pair] = set.split(";");
      const at = pair.indexOf("=");
      this.#cookies.set(pair.slice(0, at), pair.slice(at + 1));
    }
    response.setEncoding("utf8");
    let text = "";
    for await (const part of response) text += part;
    return { status: response.statusCode, location: response.headers.location, text };
  }

  // Opens an address: where that ends on this origin, or where it leads away to.
  async open(url, how) {
    let at = new URL(url, this.#origin);
    let response = await this.#go(at, how);
    while (response.location) {
      at = new URL(response.location, at);
      if (at.origin !== this.#origin) return { leftTo: at };
      response = await this.#go(at);
    }
    return { at, ...response };
  }

  // Presses a button on a page of this origin.
  async press(path, fields) {
    return this.open(path, {
      method: "POST", fields: new URLSearchParams(fields), site: "same-origin",
    });
  }

  // Waits on a sign-in's page until it leads away: its form.
  async leaves(page) {
    for (let turn = 0; turn < 60; turn += 1) {
      const form = readForm(page.text);
      if (form) return form;
      page = await this.open(`${page.at.pathname}/wait`);
    }
    throw new Error("the page never leads away");
  }
}

export function number(page) {
  const found = /<output id="number"[^>]*>(\d+)</.exec(page.text ?? "");
  if (!found) throw new Error(`no number on ${page.at}: ${page.status} ${page.text}`);
  return found[1];
}

const unescape = (text) =>
  text.replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)));
const attribute = (tag, name) => unescape(new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1] ?? "");

export function readForm(text) {
  const found = /<form id="return"([^>]*)>([\s\S]*?)<\/form>/.exec(text);
  if (!found) return undefined;
  const fields = new URLSearchParams();
  for (const [tag] of found[2].matchAll(/<input[^>]*>/g)) {
    fields.append(attribute(tag, "name"), attribute(tag, "value"));
  }
  return { method: attribute(found[1], "method"), action: attribute(found[1], "action"), fields };
}

// What the relying party's server receives when the form is sent.
export function sent(form) {
  if (form.method === "post") {
    return new Request(form.action, { method: "POST", body: form.fields });
  }
  const url = new URL(form.action);
  url.search = form.fields.toString();
  return url;
}
