/** What a person types as the number of a sign-in page. */

/** The longest number of the protocol. */
export const MAX_DIGITS = 8;
/** The shortest: fewer digits would be guessed. */
export const MIN_DIGITS = 2;

/**
 * The digits of what was typed, as they are signed: pages group them, so spaces, tabs and hyphens are dropped;
 * leading zeros stay. Undefined unless exactly `digits` ASCII digits are left.
 */
export function typedNumber(typed: string, digits: number): string | undefined {
  const number = typed.trim().replace(/[ \t-]/g, "");
  return /^[0-9]*$/.test(number) && number.length === digits ? number : undefined;
}

/** What a sign-in page's QR code holds. */
const SCHEME = "countersign:";

/** The number in a scanned text; undefined for anything else, addresses above all. */
export function scannedNumber(text: string, digits: number): string | undefined {
  return text.startsWith(SCHEME) ? typedNumber(text.slice(SCHEME.length), digits) : undefined;
}
