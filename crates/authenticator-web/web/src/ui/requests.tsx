/** The request that is looked at: what it is about first, then the keypad; deny and "not me" always in view. */

import { useEffect, useRef, useState } from "preact/hooks";
import type { Card } from "../core/card.ts";
import type { Ended, Live } from "../model.ts";
import { CodeOf } from "./codes.tsx";
import { useNow, useShared } from "./context.ts";
import { Dialog } from "./dialog.tsx";
import { Icon, type IconName, Mark } from "./icons.tsx";
import { NumberForm } from "./number.tsx";

/** What has just appeared takes no answer and no digit for so long: the person aimed at what was there before. */
const TOO_SOON_MS = 500;
/** The same after an end that came by itself: somebody may be in the middle of a number. */
const WHILE_TYPING_MS = 2000;
/** When a screen reader says how much time is left, in seconds. */
const SPOKEN = [30, 10];

/** Whether `ms` have gone by since this appeared, or since `what` changed. */
function useSettled(ms: number, what?: unknown): boolean {
  const [settled, setSettled] = useState<{ what: unknown }>();
  useEffect(() => {
    const timer = setTimeout(() => setSettled({ what }), ms);
    return () => clearTimeout(timer);
  }, [ms, what]);
  return settled !== undefined && settled.what === what;
}

export function Requests() {
  const { model } = useShared();
  if (model.ended) {
    return <Result ended={model.ended} />;
  }
  const live = model.shown;
  if (live) {
    return <Request key={live.card.challenge} live={live} />;
  }
  return model.live.length > 0 ? <Choice /> : <Nothing />;
}

/** All that waits, the newest first: so a person finds their own among many. */
function Choice() {
  const { model, words } = useShared();
  const heading = useRef<HTMLHeadingElement>(null);
  const rows = [...model.live].sort(
    (a, b) => Number(a.standing === "open") - Number(b.standing === "open"),
  );
  const settled = useSettled(TOO_SOON_MS, rows[0]?.card.challenge);
  // also when the row that had the focus has gone
  useEffect(() => {
    if (!document.activeElement || document.activeElement === document.body) {
      heading.current?.focus();
    }
  }, [rows.length]);
  return (
    <section class="panel">
      <h1 ref={heading} tabIndex={-1}>
        {words("choose.title", { count: rows.length })}
      </h1>
      <p class="hint">{words("choose.text")}</p>
      <ul class="list choice">
        {rows.map((live) => (
          <Row key={live.card.challenge} live={live} settled={settled} />
        ))}
      </ul>
    </section>
  );
}

function Row({ live, settled }: { live: Live; settled: boolean }) {
  const { model, words, language } = useShared();
  const { card, account, standing } = live;
  const now = useNow(1000);
  const { browser, place, address } = card.context;
  const seconds = Math.max(0, Math.round((now - card.asked) / 1000));
  const facts = [
    model.accounts.length > 1 ? model.nameOf(account) : "",
    browser || words("card.unknown"),
    place,
    address,
    ...card.details.map(({ label, value }) => `${label}: ${value}`),
  ];
  return (
    <li>
      <button
        type="button"
        aria-disabled={!settled}
        onClick={() => settled && model.choose(card.challenge)}
      >
        <span class="name">
          {words(`ask.${card.purpose}`, { name: card.integrationName })}
          {card.alert && (
            <>
              <Icon name="bell" size={16} />
              <span class="spoken">{words("card.rings")}</span>
            </>
          )}
        </span>
        {standing !== "open" && (
          <span>{words(standing === "withheld" ? "result.withheld" : "number.sending")}</span>
        )}
        <span class="hint">{facts.filter((fact) => fact !== "").join(" · ")}</span>
        <span class="hint">
          {new Intl.RelativeTimeFormat(language, { numeric: "always" }).format(-seconds, "second")}
        </span>
      </button>
    </li>
  );
}

function Nothing() {
  const { model, words } = useShared();
  return (
    <section class="panel calm">
      <Mark name="check" tone="good" />
      <h1 tabIndex={-1}>{words("empty.title")}</h1>
      <p>{words("empty.text")}</p>
      <button type="button" onClick={() => model.pull()}>
        <Icon name="refresh" />
        {words("empty.refresh")}
      </button>
      <p role="status" class="hint">
        {model.pulledEmpty ? words("empty.pulled") : ""}
      </p>
    </section>
  );
}

/** A digit that is typed while the request has the focus goes where numbers go. */
function toField(event: KeyboardEvent): void {
  if (/^[0-9]$/.test(event.key) && !event.ctrlKey && !event.metaKey && !event.altKey) {
    document.getElementById("number")?.focus();
  }
}

function Request({ live }: { live: Live }) {
  const { model, words } = useShared();
  const { card, standing } = live;
  const heading = useRef<HTMLHeadingElement>(null);
  const [reporting, setReporting] = useState(false);
  const seen = useSettled(TOO_SOON_MS);
  const others = model.live.length - 1;

  useEffect(() => heading.current?.focus(), []);

  const approve = (number: string) => model.answer(card.challenge, { approve: number });
  const deny = () => model.answer(card.challenge, "deny");
  const report = () => {
    setReporting(false);
    model.answer(card.challenge, "report");
  };
  const busy = !seen || standing === "sending";
  const online = model.status.get(live.account)?.name === "online";

  return (
    <>
      <section class="panel request" aria-labelledby="request-title" onKeyDown={toField}>
        <div class="about">
          <div class="top">
            {others > 0 && (
              <button type="button" class="link" onClick={() => model.choose(undefined)}>
                {words("card.others", { count: others })}
              </button>
            )}
            <TimeLeft card={card} />
          </div>
          <h1 id="request-title" ref={heading} tabIndex={-1}>
            {words(`ask.${card.purpose}`, { name: card.integrationName })}
          </h1>
          {!card.alert && <p class="hint">{words("card.silent")}</p>}
          <Facts card={card} account={model.accounts.length > 1 ? model.nameOf(live.account) : ""} />
        </div>
        {standing === "withheld" ? (
          <Withheld account={live.account} />
        ) : (
          <NumberForm
            digits={card.digits}
            label={words("number.label")}
            hint={words("number.hint", { digits: card.digits })}
            go={words("number.approve")}
            busy={standing === "sending"}
            ready={seen}
            scan
            onUse={() => model.hold()}
            onNumber={approve}
          >
            {standing === "sending" && !online && <p class="hint">{words("number.waiting")}</p>}
          </NumberForm>
        )}
      </section>
      <div class="refuse">
        <button type="button" disabled={busy} onClick={deny}>
          <Icon name="cross" />
          {words("deny")}
        </button>
        <button
          type="button"
          class="stop"
          disabled={busy}
          onClick={() => {
            model.hold();
            setReporting(true);
          }}
        >
          <Icon name="flag" />
          {words("notme")}
        </button>
      </div>
      {reporting && (
        <NotMe text={words("notme.text")} onYes={report} onNo={() => setReporting(false)} />
      )}
    </>
  );
}

/** Asked before a report: it has consequences, and a finger slips. */
export function NotMe(props: { text: string; onYes(): void; onNo(): void }) {
  const { words } = useShared();
  return (
    <Dialog title={words("notme.title")} onClose={props.onNo}>
      <p>{props.text}</p>
      <div class="row">
        <button type="button" onClick={props.onNo}>
          {words("cancel")}
        </button>
        <button type="button" class="stop filled" onClick={props.onYes}>
          {words("notme.yes")}
        </button>
      </div>
    </Dialog>
  );
}

function TimeLeft({ card }: { card: Card }) {
  const { words } = useShared();
  const now = useNow(250);
  const left = Math.max(0, card.expires - now);
  const seconds = Math.ceil(left / 1000);
  const spoken = SPOKEN.find((mark) => seconds <= mark && seconds > mark - 3);
  return (
    <>
      <p class={seconds <= 10 ? "left hurry" : "left"} aria-hidden="true">
        <svg class="ring" viewBox="0 0 20 20" width="20" height="20">
          <circle cx="10" cy="10" r="8" />
          <circle
            class="gone"
            cx="10"
            cy="10"
            r="8"
            pathLength="100"
            stroke-dasharray="100"
            stroke-dashoffset={String(100 - (100 * left) / Math.max(1, card.expires - card.asked))}
          />
        </svg>
        {seconds > 0 ? words("card.left", { seconds }) : words("card.over")}
      </p>
      <p class="spoken" role="status">
        {spoken === undefined ? "" : words("card.soon", { seconds: spoken })}
      </p>
    </>
  );
}

function Facts({ card, account }: { card: Card; account: string }) {
  const { words, language } = useShared();
  const { browser, place, address } = card.context;
  const rows: [string, string][] = [];
  if (account) {
    rows.push([words("card.account"), account]);
  }
  if (card.origin && card.origin !== card.integrationName) {
    rows.push([words("card.where"), card.origin]);
  }
  rows.push([words("card.browser"), browser || words("card.unknown")]);
  if (place) {
    rows.push([words("card.place"), place]);
  }
  rows.push([words("card.address"), address || words("card.unknown")]);
  const time = new Date(card.createdAt).toLocaleTimeString(language, { timeStyle: "medium" });
  rows.push([words("card.time"), time]);
  return (
    <>
      <dl class="facts">
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {card.details.length > 0 && (
        <div class="says">
          <p>{words("card.says", { name: card.integrationName })}</p>
          <dl class="facts">
            {card.details.map(({ label, value }, at) => (
              <div key={at}>
                <dt>{label}</dt>
                <dd>{value}</dd>
              </div>
            ))}
          </dl>
        </div>
      )}
    </>
  );
}

function Withheld({ account: id }: { account: string }) {
  const { model, words } = useShared();
  const account = model.account(id);
  return (
    <div class="withheld" role="status">
      <h2>{words("result.withheld")}</h2>
      <p>{words(account?.totp ? "result.withheld.text" : "result.withheld.none")}</p>
      {account?.totp && <CodeOf account={account} />}
    </div>
  );
}

const MARKS: Partial<Record<Ended["outcome"], [IconName, "good" | "stop" | "late"]>> = {
  approved: ["check", "good"],
  denied: ["cross", "stop"],
  reported: ["flag", "stop"],
  mismatch: ["cross", "stop"],
  refused: ["cross", "stop"],
};

/** How the person's own answer ended. */
function Result({ ended }: { ended: Ended }) {
  const { model, words } = useShared();
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  const { outcome, card } = ended;
  const [mark, tone] = MARKS[outcome] ?? ["clock", "late"];
  const settled = useSettled(MARKS[outcome] ? TOO_SOON_MS : WHILE_TYPING_MS);
  const explained =
    outcome === "approved" ||
    outcome === "denied" ||
    outcome === "reported" ||
    outcome === "mismatch" ||
    outcome === "late" ||
    outcome === "expired" ||
    outcome === "refused";
  return (
    <section class="panel calm" data-outcome={outcome}>
      <Mark name={mark} tone={tone} />
      <h1 ref={heading} tabIndex={-1}>
        {words(`result.${outcome}`)}
      </h1>
      <p class="who">{card.integrationName}</p>
      <p>{explained ? words(`result.${outcome}.text`) : words("result.other")}</p>
      <button
        type="button"
        class="primary"
        disabled={!settled}
        onClick={() => model.dismissEnded()}
      >
        {words("done")}
      </button>
    </section>
  );
}
