/** Adding an account: by link, by code, by scan. */

import { useEffect, useRef, useState } from "preact/hooks";
import { type LinkTicket, readCode, readLink } from "../core/ticket.ts";
import type { EnrolStep } from "../io/enrol.ts";
import { deviceName } from "../io/device.ts";
import { useShared } from "./context.ts";
import { Icon, Mark } from "./icons.tsx";
import { NumberForm } from "./number.tsx";
import { Scanner } from "./scanner.tsx";

interface Props {
  /** A link that the page was opened with. */
  given: LinkTicket | undefined;
  /** Absent if there is nothing to go back to. */
  onLeave: (() => void) | undefined;
  onDone(): void;
}

export function Enrol({ given, onLeave, onDone }: Props) {
  const { model, words } = useShared();
  const step = model.enrolling;
  const [link, setLink] = useState(given);
  const [device, setDevice] = useState(() => deviceName(navigator.userAgent));
  const leave = () => {
    model.leaveEnrolment();
    setLink(undefined);
    onLeave?.();
  };
  if (step) {
    return <Step step={step} onLeave={leave} onDone={onDone} />;
  }
  return (
    <section class="panel enrol">
      <h1 tabIndex={-1}>{words("enrol.title")}</h1>
      <p>{words(link ? "enrol.link.given" : "enrol.intro")}</p>
      <label for="device">{words("enrol.device")}</label>
      <input
        id="device"
        type="text"
        value={device}
        maxLength={64}
        autocomplete="off"
        onInput={(event) => setDevice(event.currentTarget.value)}
      />
      {link ? (
        <Given link={link} device={device} />
      ) : (
        <>
          <ByLink device={device} />
          <p class="or">{words("enrol.or")}</p>
          <ByCode device={device} />
        </>
      )}
      {(onLeave || link) && (
        <button type="button" onClick={leave}>
          {words("cancel")}
        </button>
      )}
    </section>
  );
}

function named(device: string): string {
  return device.trim() || deviceName(navigator.userAgent);
}

function Given({ link, device }: { link: LinkTicket; device: string }) {
  const { model, words, server } = useShared();
  return (
    <>
      <p class="hint">
        {words("accounts.server")}: <b>{server}</b>
      </p>
      <button type="button" class="primary" onClick={() => model.enrol(link, named(device))}>
        {words("enrol.go")}
      </button>
    </>
  );
}

function ByLink({ device }: { device: string }) {
  const { model, words, server } = useShared();
  const [text, setText] = useState("");
  const [error, setError] = useState("");
  const [scanning, setScanning] = useState(false);

  const use = (text: string): string => {
    const link = readLink(text);
    if (!link) {
      return words("enrol.link.bad");
    }
    if (link.server !== server) {
      return words("enrol.link.other", { server: link.server });
    }
    model.enrol(link, named(device));
    return "";
  };
  const submit = (event: Event) => {
    event.preventDefault();
    setError(use(text));
  };
  return (
    <form onSubmit={submit}>
      <label for="link">{words("enrol.link")}</label>
      <input
        id="link"
        type="text"
        inputMode="url"
        autocomplete="off"
        spellcheck={false}
        autocapitalize="none"
        value={text}
        aria-describedby={error ? "link-error" : "link-hint"}
        aria-invalid={error ? "true" : "false"}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setError("");
        }}
      />
      {error ? (
        <p class="error" id="link-error" role="alert">
          {error}
        </p>
      ) : (
        <p class="hint" id="link-hint">
          {words("enrol.link.hint")}
        </p>
      )}
      <div class="go">
        <button type="button" onClick={() => setScanning(true)}>
          <Icon name="scan" />
          {words("enrol.scan")}
        </button>
        <button type="submit" class="primary">
          {words("enrol.go")}
        </button>
      </div>
      {scanning && (
        <Scanner
          wrong={words("scan.wrong.link")}
          onClose={() => setScanning(false)}
          onText={(text) => {
            const wrong = use(text);
            if (wrong === "") {
              setScanning(false);
            }
            return wrong === "";
          }}
        />
      )}
    </form>
  );
}

function ByCode({ device }: { device: string }) {
  const { model, words, server } = useShared();
  const [user, setUser] = useState("");
  const [typed, setTyped] = useState("");
  const [error, setError] = useState<"" | "user" | "code">("");
  const submit = (event: Event) => {
    event.preventDefault();
    const code = readCode(typed);
    if (user.trim() === "") {
      setError("user");
    } else if (!code) {
      setError("code");
    } else {
      model.enrol({ kind: "code", server, user, code }, named(device));
    }
  };
  return (
    <form onSubmit={submit}>
      <label for="user">{words("enrol.user")}</label>
      <input
        id="user"
        type="text"
        autocomplete="username"
        autocapitalize="none"
        spellcheck={false}
        value={user}
        aria-invalid={error === "user" ? "true" : "false"}
        aria-describedby={error === "user" ? "code-error" : undefined}
        onInput={(event) => setUser(event.currentTarget.value)}
      />
      <label for="code">{words("enrol.code")}</label>
      <input
        id="code"
        class="code-field"
        type="text"
        autocomplete="off"
        autocapitalize="characters"
        spellcheck={false}
        value={typed}
        aria-invalid={error === "code" ? "true" : "false"}
        aria-describedby={error === "code" ? "code-error" : "code-hint"}
        onInput={(event) => setTyped(event.currentTarget.value)}
      />
      {error ? (
        <p class="error" id="code-error" role="alert">
          {words(`enrol.${error}.bad`)}
        </p>
      ) : (
        <p class="hint" id="code-hint">
          {words("enrol.code.hint")}
        </p>
      )}
      <button type="submit">{words("enrol.go.code")}</button>
    </form>
  );
}

function Step({ step, onLeave, onDone }: { step: EnrolStep; onLeave(): void; onDone(): void }) {
  const { model, words, server } = useShared();
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), [step.name]);
  switch (step.name) {
    case "connecting":
    case "confirming": {
      const key = step.name === "connecting" ? "enrol.connecting" : "enrol.confirming";
      return (
        <section class="panel calm">
          <h1 ref={heading} tabIndex={-1}>
            {words(key, { server })}
          </h1>
          <button type="button" onClick={onLeave}>
            {words("cancel")}
          </button>
        </section>
      );
    }
    case "server":
      return (
        <section class="panel calm">
          <h1 ref={heading} tabIndex={-1}>
            {words("enrol.server")}
          </h1>
          <p>{words("enrol.server.text")}</p>
          <p class="fingerprint">{step.fingerprint}</p>
          <div class="row">
            <button type="button" class="stop" onClick={onLeave}>
              {words("enrol.server.no")}
            </button>
            <button type="button" class="primary" onClick={() => model.confirmServer()}>
              {words("enrol.server.yes")}
            </button>
          </div>
        </section>
      );
    case "number":
      return (
        <section class="panel request single">
          <div class="about">
            <h1 ref={heading} tabIndex={-1}>
              {words("enrol.number")}
            </h1>
            <p>{words("enrol.number.text")}</p>
          </div>
          <NumberForm
            digits={step.digits}
            label={words("enrol.number.label")}
            hint={words("enrol.number.hint", { digits: step.digits })}
            go={words("enrol.number.go")}
            busy={false}
            ready
            scan={false}
            onNumber={(number) => model.confirmEnrolment(number)}
          >
            <button type="button" onClick={onLeave}>
              {words("cancel")}
            </button>
          </NumberForm>
        </section>
      );
    case "failed":
      return (
        <section class="panel calm">
          <Mark name="cross" tone="stop" />
          <h1 ref={heading} tabIndex={-1}>
            {words("enrol.failed")}
          </h1>
          <p>{words(`enrol.fail.${step.why}`)}</p>
          <button type="button" class="primary" onClick={onLeave}>
            {words("enrol.again")}
          </button>
        </section>
      );
    case "done":
      return (
        <section class="panel calm">
          <Mark name="check" tone="good" />
          <h1 ref={heading} tabIndex={-1}>
            {words("enrol.done", { account: model.nameOf(step.account.id) })}
          </h1>
          <p>{words("enrol.done.text")}</p>
          <button type="button" class="primary" onClick={onDone}>
            {words("done")}
          </button>
        </section>
      );
  }
}
