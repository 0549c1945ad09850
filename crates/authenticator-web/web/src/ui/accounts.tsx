/** Accounts of this browser, and the few settings. */

import { useState } from "preact/hooks";
import { fingerprint, P256 } from "../core/keys.ts";
import { isLanguage, LANGUAGES } from "../i18n/index.ts";
import { canNotify } from "../io/bell.ts";
import type { Status } from "../io/session.ts";
import type { Account } from "../io/store.ts";
import { type Shared, useNow, useShared } from "./context.ts";
import { Dialog } from "./dialog.tsx";
import { Icon } from "./icons.tsx";

export function statusText({ words }: Pick<Shared, "words">, status: Status | undefined): string {
  switch (status?.name) {
    case "online":
      return words("status.online");
    case "waiting": {
      const seconds = Math.max(1, Math.ceil((status.at - performance.now()) / 1000));
      return words("status.waiting", { seconds });
    }
    case "stopped":
      return words(`status.${status.why}`);
    default:
      return words("status.connecting");
  }
}

export function Accounts({ onAdd }: { onAdd(): void }) {
  const { model, words, server } = useShared();
  return (
    <section class="panel">
      <h1 tabIndex={-1}>{words("accounts.title")}</h1>
      <ul class="list">
        {model.accounts.map((account) => (
          <OneAccount key={account.id} account={account} />
        ))}
      </ul>
      <button type="button" onClick={onAdd}>
        <Icon name="plus" />
        {words("accounts.add")}
      </button>
      <SettingsForm />
      <p class="hint">{words("accounts.about", { server })}</p>
    </section>
  );
}

function OneAccount({ account }: { account: Account }) {
  const shared = useShared();
  const { model, words, language } = shared;
  const [removing, setRemoving] = useState(false);
  useNow(1000);
  const name = model.nameOf(account.id);
  const algorithm = account.key.algorithm === P256 ? "P-256" : "Ed25519";
  const rows: [string, string][] = [
    [words("accounts.device"), account.deviceName],
    [words("accounts.server"), account.server],
    [words("accounts.fingerprint"), fingerprint(account.identity)],
    [words("accounts.key"), words("accounts.key.value", { algorithm })],
    [words("accounts.since"), new Date(account.enrolledAt).toLocaleDateString(language)],
  ];
  return (
    <li>
      <p class="name">{name}</p>
      <p class="what">{statusText(shared, model.status.get(account.id))}</p>
      <dl class="facts">
        {rows.map(([label, value]) => (
          <div key={label}>
            <dt>{label}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <button type="button" onClick={() => setRemoving(true)}>
        {words("accounts.remove")}
      </button>
      {removing && (
        <Dialog
          title={words("accounts.remove.title", { account: name })}
          onClose={() => setRemoving(false)}
        >
          <p>{words("accounts.remove.text", { device: account.deviceName })}</p>
          <div class="row">
            <button type="button" onClick={() => setRemoving(false)}>
              {words("cancel")}
            </button>
            <button type="button" class="stop filled" onClick={() => void model.remove(account.id)}>
              {words("accounts.remove")}
            </button>
          </div>
        </Dialog>
      )}
    </li>
  );
}

function SettingsForm() {
  const { model, words, language } = useShared();
  const [refused, setRefused] = useState(false);
  const notify = async (wanted: boolean) => {
    const allowed = !wanted || canNotify() || (await Notification.requestPermission()) === "granted";
    setRefused(!allowed);
    await model.set({ notify: wanted && allowed });
  };
  return (
    <div class="settings">
      <label for="language">{words("accounts.language")}</label>
      <select
        id="language"
        value={language}
        onChange={({ currentTarget: { value } }) => {
          if (isLanguage(value)) {
            void model.set({ language: value });
          }
        }}
      >
        {Object.entries(LANGUAGES).map(([code, name]) => (
          <option key={code} value={code} lang={code}>
            {name}
          </option>
        ))}
      </select>
      {typeof Notification === "function" && (
        <label class="check">
          <input
            type="checkbox"
            checked={model.settings.notify ?? false}
            onChange={(event) => void notify(event.currentTarget.checked)}
          />
          {words("accounts.notify")}
        </label>
      )}
      <p role="status" class="error">
        {refused ? words("accounts.notify.denied") : ""}
      </p>
    </div>
  );
}
