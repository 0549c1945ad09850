/**
 * Keeps the page for when there is no network: codes are made offline, so the page must open offline.
 *
 * The page itself comes from the network whenever there is one, so that an update is never held back; what it
 * loads has its hash in its name and is taken from the cache.
 */

const worker = self as unknown as ServiceWorkerGlobalScope;
/** Put in by the build: a hash over everything, and what the page loads. */
declare const BUILD: string;
declare const ASSETS: readonly string[];

const CACHE = `countersign-${BUILD}`;
const PAGE = "/";

worker.addEventListener("install", (event) => {
  const kept = caches.open(CACHE).then((cache) => cache.addAll([PAGE, ...ASSETS]));
  event.waitUntil(kept.then(() => worker.skipWaiting()));
});

worker.addEventListener("activate", (event) => {
  const tidied = caches
    .keys()
    .then((names) => Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name))));
  event.waitUntil(tidied.then(() => worker.clients.claim()));
});

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== worker.location.origin) {
    return;
  }
  if (request.mode === "navigate") {
    event.respondWith(page(request));
  } else if (ASSETS.includes(pathname)) {
    event.respondWith(caches.match(pathname).then((kept) => kept ?? fetch(request)));
  }
});

async function page(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    // all our pages are one; it names the server, which may have moved since
    if (response.ok && !response.redirected) {
      await cache.put(PAGE, response.clone());
    }
    // a proxy whose server is away answers too, but with nothing that makes codes
    return response.status >= 500 ? ((await cache.match(PAGE)) ?? response) : response;
  } catch {
    return (await cache.match(PAGE)) ?? Response.error();
  }
}
