// Shows the progress of a bulk operation: asks for the page again, and takes its part of it.
const EVERY = 2000;
const SLOWEST = 30000;

function wait(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

async function ask() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!response.ok || response.redirected) return null;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  return page.querySelector("[data-fc-progress]");
}

function take(shown, found) {
  const [head, fresh] = [shown, found].map((one) => one.querySelector(".fc-headline"));
  // It stays in the page, so that a screen reader says what changes in it.
  if (head.textContent !== fresh.textContent) head.replaceChildren(...fresh.childNodes);
  const isFinished = found.hasAttribute("data-fc-finished");
  // Who is about to press a button keeps it.
  if (shown.contains(document.activeElement) && !isFinished) {
    shown.querySelector("progress").replaceWith(found.querySelector("progress"));
    return;
  }
  for (const old of [...shown.children].slice(1)) old.remove();
  shown.append(...[...found.children].slice(1));
  shown.toggleAttribute("data-fc-finished", isFinished);
}

const shown = document.querySelector("[data-fc-progress]");
let pause = EVERY;
while (shown && !shown.hasAttribute("data-fc-finished")) {
  await wait(pause);
  if (document.hidden) continue;
  const found = await ask().catch(() => null);
  pause = found ? EVERY : Math.min(pause * 2, SLOWEST);
  if (found) take(shown, document.importNode(found, true));
}
