/** The service worker keeps the page itself, so that codes can be made without a network. */

const SCRIPT = "/sw.js";

/** Under Trusted Types a script's address needs a policy, and this is the one address that it lets through. */
export function registerWorker(): void {
  if (!("serviceWorker" in navigator)) {
    return;
  }
  const policy = globalThis.trustedTypes?.createPolicy("countersign", {
    createScriptURL: (address) => {
      if (address === SCRIPT) {
        return address;
      }
      throw new TypeError("not our script");
    },
  });
  const address = policy ? (policy.createScriptURL(SCRIPT) as unknown as string) : SCRIPT;
  // a page without it works, but for codes while offline
  navigator.serviceWorker.register(address).catch(() => undefined);
}

declare global {
  // not yet in TypeScript's own library
  var trustedTypes:
    | {
        createPolicy(
          name: string,
          rules: { createScriptURL(address: string): string },
        ): { createScriptURL(address: string): unknown };
      }
    | undefined;
}
