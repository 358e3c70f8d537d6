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
  const focused = shown.contains(document.activeElement);
  // Who is about to press a button keeps it.
  if (focused && !found.hasAttribute("data-fc-finished")) {
    for (const name of [".fc-headline", "progress"]) {
      shown.querySelector(name).replaceWith(found.querySelector(name));
    }
    return shown;
  }
  shown.replaceWith(found);
  return found;
}

let shown = document.querySelector("[data-fc-progress]");
let pause = EVERY;
while (shown && !shown.hasAttribute("data-fc-finished")) {
  await wait(pause);
  if (document.hidden) continue;
  const found = await ask().catch(() => null);
  pause = found ? EVERY : Math.min(pause * 2, SLOWEST);
  if (found) shown = take(shown, document.importNode(found, true));
}
