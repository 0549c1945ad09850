/** Where a number is typed: a field, a keypad, paste and scan. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { scannedNumber, typedNumber } from "../core/number.ts";
import { useShared } from "./context.ts";
import { Icon } from "./icons.tsx";
import { Scanner } from "./scanner.tsx";

interface Props {
  digits: number;
  label: string;
  hint: string;
  /** What the button says. */
  go: string;
  busy: boolean;
  /** Whether digits are taken yet. */
  ready: boolean;
  /** Whether sign-in pages' QR codes can be scanned. */
  scan: boolean;
  /** When somebody types or scans. */
  onUse?(): void;
  /** With the digits, checked. */
  onNumber(number: string): void;
  /** Stands below the button. */
  children?: ComponentChildren;
}

const KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9"] as const;

export function NumberForm(props: Props) {
  const { digits, label, hint, go, busy, onNumber } = props;
  const { words } = useShared();
  const [typed, setTyped] = useState("");
  const [error, setError] = useState("");
  const [scanning, setScanning] = useState(false);

  const change = (text: string) => {
    setError("");
    setTyped(text.replace(/[^0-9]/g, "").slice(0, digits));
    props.onUse?.();
  };
  const take = (text: string): boolean => {
    const number = typedNumber(text, digits) ?? scannedNumber(text.trim(), digits);
    if (number === undefined) {
      setError(words("number.paste.bad", { digits }));
      return false;
    }
    change(number);
    return true;
  };
  const pasted = (event: ClipboardEvent) => {
    event.preventDefault();
    take(event.clipboardData?.getData("text") ?? "");
  };
  const paste = async () => {
    try {
      take(await navigator.clipboard.readText());
    } catch {
      setError(words("number.paste.denied"));
    }
  };
  const submit = (event: Event) => {
    event.preventDefault();
    const number = typedNumber(typed, digits);
    if (number === undefined) {
      setError(words("number.short", { digits }));
    } else if (!busy) {
      onNumber(number);
    }
  };

  return (
    <form class="number" onSubmit={submit} autocomplete="off">
      <div class="field-top">
        <label for="number">{label}</label>
        <span class="hint" id="number-hint">
          {hint}
        </span>
      </div>
      <div class="field">
        <input
          id="number"
          class="digits"
          type="text"
          // the page has a keypad of its own: the system's would cover what the request is about
          inputMode="none"
          autocomplete="off"
          autocorrect="off"
          spellcheck={false}
          placeholder={"•".repeat(digits)}
          value={typed}
          readOnly={busy || !props.ready}
          aria-describedby={error ? "number-error" : "number-hint"}
          aria-invalid={error ? "true" : "false"}
          onInput={(event) => change(event.currentTarget.value)}
          onPaste={pasted}
        />
        <button type="button" class="quiet paste" onClick={() => void paste()}>
          <Icon name="paste" />
          <span class="spoken">{words("number.paste")}</span>
        </button>
      </div>
      {error && (
        <p class="error" id="number-error" role="alert">
          {error}
        </p>
      )}
      <div class="keypad" role="group" aria-label={words("number.keypad")}>
        {KEYS.map((key) => (
          <button
            key={key}
            type="button"
            class="key"
            disabled={!props.ready}
            onClick={() => change(typed + key)}
          >
            {key}
          </button>
        ))}
        {props.scan ? (
          <button
            type="button"
            class="key side"
            disabled={!props.ready}
            onClick={() => {
              props.onUse?.();
              setScanning(true);
            }}
          >
            <Icon name="scan" />
            {words("number.scan")}
          </button>
        ) : (
          <span />
        )}
        <button
          type="button"
          class="key"
          disabled={!props.ready}
          onClick={() => change(`${typed}0`)}
        >
          0
        </button>
        <button
          type="button"
          class="key side"
          disabled={!props.ready}
          aria-label={words("number.delete")}
          onClick={() => change(typed.slice(0, -1))}
        >
          <Icon name="backspace" size={26} />
        </button>
      </div>
      <button type="submit" class="primary" disabled={busy || !props.ready || typed.length !== digits}>
        {busy ? words("number.sending") : go}
      </button>
      {props.children}
      {scanning && (
        <Scanner
          wrong={words("scan.wrong")}
          onClose={() => setScanning(false)}
          onText={(text) => {
            const number = scannedNumber(text, digits);
            if (number === undefined) {
              return false;
            }
            change(number);
            setScanning(false);
            return true;
          }}
        />
      )}
    </form>
  );
}
