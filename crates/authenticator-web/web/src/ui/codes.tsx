/** Time-based codes, made offline. */

import { useEffect, useState } from "preact/hooks";
import { type Code, totpCode } from "../core/totp.ts";
import type { Account } from "../io/store.ts";
import { useNow, useShared } from "./context.ts";
import { Icon } from "./icons.tsx";

export function Codes() {
  const { model, words } = useShared();
  const holding = model.accounts.filter(({ totp }) => totp);
  return (
    <section class="panel">
      <h1 tabIndex={-1}>{words("codes.title")}</h1>
      <p class="hint">{words(holding.length > 0 ? "codes.text" : "codes.empty")}</p>
      <ul class="list">
        {holding.map((account) => (
          <li key={account.id}>
            <p class="name">{model.nameOf(account.id)}</p>
            <CodeOf account={account} />
          </li>
        ))}
      </ul>
    </section>
  );
}

export function CodeOf({ account }: { account: Account }) {
  const { model, words } = useShared();
  const now = useNow(500, () => Date.now());
  const [code, setCode] = useState<Code>();
  const [copied, setCopied] = useState("");
  const second = Math.floor(now / 1000);

  useEffect(() => {
    let wanted = true;
    if (account.totp) {
      void totpCode(account.totp, second).then((made) => wanted && setCode(made));
    }
    return () => {
      wanted = false;
    };
  }, [account, second]);

  const copy = async () => {
    if (code) {
      await navigator.clipboard.writeText(code.digits);
      setCopied(code.digits);
    }
  };
  const digits = code?.digits ?? "";
  const period = account.totp?.periodS ?? 30;
  return (
    <div class="code">
      <output aria-label={words("codes.of", { account: model.nameOf(account.id) })}>{digits}</output>
      <span class="code-left">
        <progress max={period} value={code?.secondsLeft ?? period} aria-hidden="true" />
        <span>{words("codes.left", { seconds: code?.secondsLeft ?? period })}</span>
      </span>
      <button type="button" onClick={() => void copy()}>
        <Icon name="copy" />
        {words(copied !== "" && copied === digits ? "codes.copied" : "codes.copy")}
      </button>
    </div>
  );
}
