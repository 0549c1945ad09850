/** Foreign text, made safe to show. */

/** Control characters, and those that reorder or hide others (bidirectional controls, zero-width). */
const FORGING = /[\p{Cc}\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e0fff}]/gu;

/** `text` without what could forge the screen that it is shown on, cut after `max` characters. */
export function plain(text: string, max: number): string {
  const visible = text.replace(/\s/gu, " ").replace(FORGING, "");
  return Array.from(visible).slice(0, max).join("").trim();
}
