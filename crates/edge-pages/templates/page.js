// Pages work without this: it leaves at once, counts down, and copies the number.
"use strict";
const find = (what) => document.querySelector(what);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// the way back to who asked: of several tabs the server lets one go
const form = find("form#return[data-leave]");
const leave = async () => {
  const ask = form.dataset.leave;
  const { status } = ask ? await fetch(ask, { method: "POST" }) : { status: 204 };
  if (status === 409) location.reload();
  if (status !== 204) return;
  // a field of it may be called submit
  HTMLFormElement.prototype.submit.call(form);
};
if (form) leave();

const main = find("main[data-wait]");
let stays = true;
addEventListener("submit", () => (stays = false));
const follow = async () => {
  while (stays) {
    let status = 0;
    try {
      const signal = AbortSignal.timeout?.(20000);
      ({ status } = await fetch(main.dataset.wait, { cache: "no-store", signal }));
    } catch {
      // no network, or the browser slept
    }
    if (stays && (status === 200 || status === 404)) return location.replace(main.dataset.page);
    await sleep(status === 204 ? 50 : 1000);
  }
};
if (main) follow();

const left = find("#left");
if (left) {
  const end = Date.now() + Number(left.dataset.ms);
  const tick = () => {
    const seconds = Math.max(0, Math.ceil((end - Date.now()) / 1000));
    left.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    if (seconds > 0) setTimeout(tick, 1000);
  };
  tick();
}

const copy = find("#copy");
if (copy && navigator.clipboard) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(find("#number").textContent);
      find("#copied").textContent = copy.dataset.done;
    } catch {
      // there is still the mouse
    }
  });
}

// out of the browser's memory comes what was
addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
