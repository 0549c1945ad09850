/** How a person hears of a request: the page's title, a notification, a buzz. None says what it is about. */

import type { Words } from "../i18n/index.ts";

const BUZZ = [80, 60, 80];

export class Bell {
  readonly #shown = new Map<string, Notification>();
  /** The words of notifications; set when the language is known. */
  static words: Words = (key) => key;

  /** So many requests wait: the title says so, since a background tab shows nothing else. */
  waiting(count: number): void {
    const title = Bell.words("app.title");
    document.title = count > 0 ? `(${count}) ${title} · Countersign` : `${title} · Countersign`;
  }

  ring(challenge: string, notify: boolean): void {
    // browsers let a page buzz only after its person has touched it
    if (navigator.userActivation?.hasBeenActive) {
      navigator.vibrate?.(BUZZ);
    }
    if (!notify || document.visibilityState === "visible" || !canNotify()) {
      return;
    }
    try {
      const options = { body: Bell.words("notify.body"), tag: challenge };
      const notification = new Notification(Bell.words("notify.title"), options);
      notification.onclick = () => window.focus();
      this.#shown.set(challenge, notification);
    } catch {
      // Android's Chromium lets only service workers notify: the title still says it
    }
  }

  /** The request is over: nothing about it stays on the screen. */
  quiet(challenge: string): void {
    this.#shown.get(challenge)?.close();
    this.#shown.delete(challenge);
  }
}

export function canNotify(): boolean {
  return typeof Notification === "function" && Notification.permission === "granted";
}
