/** The words on the screen. Both catalogues have the same keys: the type of `CATALOGUES` says so. */

import de from "./de.json" with { type: "json" };
import en from "./en.json" with { type: "json" };

export type Key = keyof typeof en;
export type Language = "en" | "de";

const CATALOGUES: Record<Language, Record<Key, string>> = { en, de };

/** The names of the languages, each in itself. */
export const LANGUAGES: Record<Language, string> = { en: "English", de: "Deutsch" };

export type Words = (key: Key, values?: Record<string, string | number>) => string;

export function isLanguage(name: string | undefined): name is Language {
  return name !== undefined && Object.hasOwn(CATALOGUES, name);
}

/** The first of the person's languages that there is. */
export function chooseLanguage(chosen: string | undefined, wanted: readonly string[]): Language {
  if (isLanguage(chosen)) {
    return chosen;
  }
  return wanted.map((name) => name.slice(0, 2).toLowerCase()).find(isLanguage) ?? "en";
}

export function wordsOf(language: Language): Words {
  const catalogue = CATALOGUES[language];
  return (key, values = {}) =>
    catalogue[key].replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}
