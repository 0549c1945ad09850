/** Requests that ended, and "not me" for a day. */

import { useState } from "preact/hooks";
import type { Past } from "../io/store.ts";
import { LATE_REPORT_MS } from "../model.ts";
import { useNow, useShared } from "./context.ts";
import { Icon, type IconName } from "./icons.tsx";
import { NotMe } from "./requests.tsx";

const ICONS: Partial<Record<Past["outcome"], [IconName, string]>> = {
  approved: ["check", "good"],
  denied: ["cross", "stop"],
  reported: ["flag", "stop"],
  mismatch: ["cross", "stop"],
};

export function History() {
  const { model, words } = useShared();
  return (
    <section class="panel">
      <h1 tabIndex={-1}>{words("past.title")}</h1>
      <p class="hint">{words(model.past.length > 0 ? "past.hint" : "past.empty")}</p>
      <ul class="list">
        {model.past.map((past) => (
          <PastRequest key={past.account + past.challenge} past={past} />
        ))}
      </ul>
    </section>
  );
}

function PastRequest({ past }: { past: Past }) {
  const { model, words, language } = useShared();
  const [asking, setAsking] = useState(false);
  const now = useNow(60_000, () => Date.now());
  const [icon, tone] = ICONS[past.outcome] ?? ["clock", "late"];
  const when = new Date(past.at).toLocaleString(language, {
    dateStyle: "medium",
    timeStyle: "short",
  });
  const reportable =
    past.outcome !== "reported" && !past.reportedLate && now - past.at < LATE_REPORT_MS;
  const { context, origin, details } = past.card;
  const facts = [
    model.accounts.length > 1 ? model.nameOf(past.account) : "",
    context.browser,
    context.place,
    context.address,
    origin,
    ...details.map(({ label, value }) => `${label}: ${value}`),
  ];
  const report = () => {
    setAsking(false);
    model.reportLate(past);
  };
  return (
    <li data-outcome={past.outcome} data-reported={past.reportedLate}>
      <p class="name">
        <span class={`dot ${tone}`}>
          <Icon name={icon} size={16} />
        </span>
        {past.card.integrationName}
      </p>
      <p class="what">
        {words(`past.${past.outcome}`)} · <time dateTime={new Date(past.at).toISOString()}>{when}</time>
      </p>
      <p class="what">{facts.filter(Boolean).join(" · ")}</p>
      {past.reportedLate && <p class="reported">{words("past.reported_late")}</p>}
      {reportable && (
        <button
          type="button"
          class="quiet stop"
          disabled={model.isReporting(past)}
          onClick={() => setAsking(true)}
        >
          <Icon name="flag" />
          {words("notme")}
        </button>
      )}
      {asking && (
        <NotMe text={words("notme.late")} onYes={report} onNo={() => setAsking(false)} />
      )}
    </li>
  );
}
