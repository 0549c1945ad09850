/** The page around the views. */

import { useEffect, useRef, useState } from "preact/hooks";
import type { LinkTicket } from "../core/ticket.ts";
import type { Words } from "../i18n/index.ts";
import type { Message } from "../model.ts";
import { Accounts, statusText } from "./accounts.tsx";
import { Codes } from "./codes.tsx";
import { useModel, useNow, useShared } from "./context.ts";
import { Enrol } from "./enrol.tsx";
import { History } from "./history.tsx";
import { Brand, Icon } from "./icons.tsx";
import { Requests } from "./requests.tsx";

const TABS = ["requests", "codes", "history", "accounts"] as const;
type Tab = (typeof TABS)[number];

interface Props {
  /** A link that the page was opened with. */
  given: LinkTicket | undefined;
  /** Whether it was opened to add an account. */
  enrolling: boolean;
}

export function Page({ given, enrolling: opened }: Props) {
  const { model, words } = useShared();
  useModel(model);
  const [tab, setTab] = useState<Tab>("requests");
  const [adding, setAdding] = useState(opened || given !== undefined);
  const [link, setLink] = useState(given);
  const main = useRef<HTMLElement>(null);
  const enrolling = adding || model.accounts.length === 0 || model.enrolling !== undefined;
  const open = model.live.filter(({ standing }) => standing === "open");

  const go = (to: Tab) => {
    setTab(to);
    // after the view is drawn: who navigates hears where they are
    requestAnimationFrame(() => main.current?.querySelector("h1")?.focus());
  };
  const leave = () => {
    model.leaveEnrolment();
    setAdding(false);
    // it works once
    setLink(undefined);
  };
  const elsewhere = enrolling || tab !== "requests" || model.ended !== undefined;
  const since = model.ended?.card.createdAt ?? 0;
  const ringing = open.find(({ card }) => card.alert && card.createdAt > since);

  return (
    <>
      <header class="head">
        <a class="skip" href="#main">
          {words("app.skip")}
        </a>
        <span class="brand">
          <Brand />
          <span>Countersign</span>
        </span>
        <Standing />
        {model.accounts.length > 0 && (
          <button
            type="button"
            class="quiet"
            title={words("app.refresh.hint")}
            onClick={() => model.pull()}
          >
            <Icon name="refresh" size={24} />
            <span class="spoken">{words("app.refresh")}</span>
          </button>
        )}
      </header>
      {!enrolling && (
        <nav class="tabs" aria-label={words("tab.label")}>
          {TABS.map((name) => (
            <button
              key={name}
              type="button"
              aria-current={tab === name ? "page" : undefined}
              onClick={() => go(name)}
            >
              {words(`tab.${name}`)}
              {name === "requests" && open.length > 0 && <span class="count">{open.length}</span>}
            </button>
          ))}
        </nav>
      )}
      <main id="main" ref={main} tabIndex={-1}>
        <Stopped />
        <div role="alert">
          {elsewhere && ringing && !enrolling && (
            <div class="message">
              <Icon name="bell" />
              <p>{words("card.new", { name: ringing.card.integrationName })}</p>
              <button
                type="button"
                onClick={() => {
                  model.dismissEnded();
                  go("requests");
                }}
              >
                {words("card.show")}
              </button>
            </div>
          )}
        </div>
        <Messages />
        {enrolling ? (
          <Enrol
            given={link}
            onLeave={model.accounts.length > 0 ? leave : undefined}
            onDone={() => {
              leave();
              go("requests");
            }}
          />
        ) : (
          <View tab={tab} onAdd={() => setAdding(true)} />
        )}
      </main>
    </>
  );
}

function View({ tab, onAdd }: { tab: Tab; onAdd(): void }) {
  switch (tab) {
    case "requests":
      return <Requests />;
    case "codes":
      return <Codes />;
    case "history":
      return <History />;
    case "accounts":
      return <Accounts onAdd={onAdd} />;
  }
}

/** Whether requests can reach this page: one word for all accounts, the worst. */
function Standing() {
  const shared = useShared();
  const { model } = shared;
  useNow(1000);
  const all = model.accounts.map(({ id }) => model.status.get(id));
  const worst = all.find((status) => status?.name !== "online") ?? all[0];
  if (model.accounts.length === 0) {
    return null;
  }
  return (
    <p class="standing" data-status={worst?.name ?? "connecting"}>
      <span class="light" aria-hidden="true" />
      <span>{statusText(shared, worst)}</span>
    </p>
  );
}

/** Accounts that don't come back by themselves. */
function Stopped() {
  const shared = useShared();
  const { model, words } = shared;
  return (
    <>
      {model.accounts.map(({ id }) => {
        const status = model.status.get(id);
        if (status?.name !== "stopped") {
          return null;
        }
        const account = model.nameOf(id);
        const replaced = status.why === "replaced";
        const why = statusText(shared, status);
        return (
          <div key={id} class="message" role="alert" data-stopped={status.why}>
            <Icon name="info" />
            <p>
              {replaced
                ? words("stopped.replaced", { account })
                : words("stopped.other", { account, why })}
            </p>
            {replaced && (
              <button type="button" onClick={() => model.takeOver(id)}>
                {words("stopped.takeover")}
              </button>
            )}
          </div>
        );
      })}
    </>
  );
}

function Messages() {
  const { model, words, language } = useShared();
  return (
    <div role="status" class="messages">
      {model.messages.map(({ id, text }) => (
        <div key={id} class="message">
          <Icon name="info" />
          <p>{textOf(text, words, language)}</p>
          <button type="button" class="quiet" onClick={() => model.dismiss(id)}>
            {words("notice.dismiss")}
          </button>
        </div>
      ))}
    </div>
  );
}

function textOf(text: Message["text"], words: Words, language: string): string {
  switch (text.kind) {
    case "gone":
      return words(`gone.${text.how}`, { name: text.name });
    case "dropped":
      return words(text.fault === "too_many" ? "notice.too_many" : "notice.dropped");
    case "totp":
      return words("notice.totp", { account: text.account });
    case "reported":
      return words(text.ok ? "past.sent" : "past.failed");
    case "notice": {
      const { kind, text: said } = text.notice;
      // the digest counts, and only the server's own text has the number
      const own = kind === "digest" || kind === "other" || language === "en";
      return own ? said : words(`notice.${kind}`);
    }
  }
}

/** The language of the document, for screen readers and hyphenation. */
export function useDocumentLanguage(language: string): void {
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
}
