/** Line icons. Beside each stands its word, so they are hidden from screen readers. */

const PATHS = {
  refresh: "M4 11a8 8 0 0 1 14-4.5L20 9M20 4v5h-5M20 13a8 8 0 0 1-14 4.5L4 15M4 20v-5h5",
  backspace: "M9 5h11v14H9l-6-7zM12 9.5l5 5M17 9.5l-5 5",
  scan: "M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4M7 12h10",
  paste: "M9 5H6v16h12V5h-3M9 3.5h6V7H9z",
  check: "M5 12.5l4.5 4.5L19 7.5",
  cross: "M6.5 6.5l11 11M17.5 6.5l-11 11",
  flag: "M6 21V4h12l-3 4.5L18 13H6",
  clock: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM12 7.5V12l3 2",
  info: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM12 11v5.5M12 7.6v.3",
  plus: "M12 5v14M5 12h14",
  bell: "M6 16V11a6 6 0 0 1 12 0v5l1.5 2h-15zM10 20.5h4",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 20 }: { name: IconName; size?: number }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" width={size} height={size} aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** A large mark in a ring, for how something ended. */
export function Mark({ name, tone }: { name: IconName; tone: "good" | "stop" | "late" }) {
  return (
    <svg class={`mark ${tone}`} viewBox="0 0 48 48" width="72" height="72" aria-hidden="true">
      <circle cx="24" cy="24" r="21.5" />
      <path d={PATHS[name]} transform="translate(12 12)" />
    </svg>
  );
}

export function Brand() {
  return (
    <svg viewBox="0 0 32 32" width="30" height="30" aria-hidden="true">
      <rect class="badge" width="32" height="32" rx="9" />
      <path class="tick" d="M9 16.5l5 5L23.5 11" />
    </svg>
  );
}
