/** What all views share. */

import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";
import type { Words } from "../i18n/index.ts";
import type { Model } from "../model.ts";

export interface Shared {
  model: Model;
  words: Words;
  language: string;
  /** The server that this page belongs to. */
  server: string;
}

export const SharedContext = createContext<Shared | undefined>(undefined);

export function useShared(): Shared {
  const shared = useContext(SharedContext);
  if (!shared) {
    throw new Error("a view outside of the page");
  }
  return shared;
}

/** Draws again whenever the model changes. */
export function useModel(model: Model): void {
  const [, redraw] = useState(0);
  useEffect(() => model.watch(() => redraw((count) => count + 1)), [model]);
}

/** The monotonic time in ms, drawn again at each step of `everyMs`. */
export function useNow(everyMs: number, clock: () => number = () => performance.now()): number {
  const [now, setNow] = useState(clock);
  useEffect(() => {
    const timer = setInterval(() => setNow(clock()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
