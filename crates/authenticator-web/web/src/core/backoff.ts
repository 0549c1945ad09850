/** When to come back: exponential back-off with full jitter (proto/README.md §7). */

const BASE_MS = 1000;
/** No wait is longer: a person who waits for a prompt should not have to reload the page. */
export const CAP_MS = 5 * 60 * 1000;
/** Where counting resumes after "too many": 16 s and doubling. */
const CROWDED = 4;

/** A number in [0, 1). */
export type Random = () => number;

export class Backoff {
  #failures = 0;

  /** A connection was good: start over. */
  reset(): void {
    this.#failures = 0;
  }

  /** The server says that it has too many of us. */
  crowded(): void {
    this.#failures = Math.max(this.#failures, CROWDED);
  }

  /**
   * How long to wait now, in ms, on top of `floorMs`, which the server may have asked for: then chance is at most twice
   * that.
   */
  next(floorMs: number, random: Random): number {
    const most = floorMs > 0 ? Math.max(2 * floorMs, BASE_MS) : CAP_MS;
    const bound = Math.min(CAP_MS, most, BASE_MS * 2 ** Math.min(this.#failures, 16));
    this.#failures += 1;
    return Math.min(floorMs, CAP_MS) + random() * bound;
  }
}
