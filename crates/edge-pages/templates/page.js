// A page works without this. With it, a page that waits leaves at once, counts down, and copies its number.
"use strict";
const find = (what) => document.querySelector(what);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// what leads back to who asked; its fields may have any name, also that of a method
const form = find("form#return[data-leave]");
if (form) HTMLFormElement.prototype.submit.call(form);

const main = find("main[data-wait]");
const follow = async () => {
  for (;;) {
    let status = 0;
    try {
      const signal = AbortSignal.timeout(20000);
      ({ status } = await fetch(main.dataset.wait, { cache: "no-store", signal }));
    } catch {
      // the network is away, or the browser slept
    }
    if (status === 200 || status === 404) return location.replace(main.dataset.page);
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
      // it can still be selected
    }
  });
}

// one that the back button brings out of the browser's memory shows what was
addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
