/** Starts the page. */

import { render } from "preact";
import { readFragment } from "./core/ticket.ts";
import { chooseLanguage, wordsOf } from "./i18n/index.ts";
import { Bell } from "./io/bell.ts";
import { Store } from "./io/store.ts";
import { registerWorker } from "./io/worker.ts";
import { Model } from "./model.ts";
import { SharedContext, useModel } from "./ui/context.ts";
import { Page, useDocumentLanguage } from "./ui/page.tsx";

declare const VERSION: string;

const AGENT = `countersign-authenticator-web ${VERSION}`;

/** The server's address, written into the page by whoever serves it. */
function serverOf(document: Document): string {
  return document.querySelector<HTMLMetaElement>('meta[name="countersign-server"]')?.content ?? "";
}

/** What an enrolment link brought along. */
interface Opened {
  enrolling: boolean;
  fragment: string;
}

/** The fragment is a secret: it leaves the address bar and the history before anything else happens. */
function takeFragment(): Opened {
  const opened = { enrolling: location.pathname !== "/", fragment: location.hash.slice(1) };
  if (opened.enrolling || opened.fragment !== "") {
    history.replaceState(null, "", "/");
  }
  return opened;
}

function App({ model, server, opened }: { model: Model; server: string; opened: Opened }) {
  useModel(model);
  const language = chooseLanguage(model.settings.language, navigator.languages);
  const words = wordsOf(language);
  Bell.words = words;
  useDocumentLanguage(language);
  return (
    <SharedContext.Provider value={{ model, words, language, server }}>
      <Page given={readFragment(server, opened.fragment)} enrolling={opened.enrolling} />
    </SharedContext.Provider>
  );
}

/** Opening the page is a person's pull; a page that opens where nobody looks waits for them. */
function pullWhenSeen(model: Model): void {
  if (document.visibilityState === "visible") {
    model.pull();
    return;
  }
  model.connect();
  const seen = () => {
    if (document.visibilityState === "visible") {
      document.removeEventListener("visibilitychange", seen);
      model.pull();
    }
  };
  document.addEventListener("visibilitychange", seen);
}

async function start(): Promise<void> {
  const opened = takeFragment();
  const root = document.getElementById("root");
  if (!root) {
    return;
  }
  try {
    const model = await Model.open(await Store.open(), AGENT);
    root.replaceChildren();
    render(<App model={model} server={serverOf(document)} opened={opened} />, root);
    pullWhenSeen(model);
    addEventListener("online", () => model.hurry());
  } catch {
    const words = wordsOf(chooseLanguage(undefined, navigator.languages));
    root.replaceChildren(words("app.storage"));
  }
  registerWorker();
}

void start();
