// Asks the server for parts of pages, and puts them in place of those that are shown.
// The same addresses answer whole pages to a browser without this script.

const NAME = "X-Flowcontrol";
let fading;

/** What is not one of our answers, such as a login, the browser shows as a page. */
const leave = () => document.dispatchEvent(new Event("fc:leave"));

/** An answer: `where` to continue, or the `part` of a page; `ok` unless something was refused. */
async function read(response) {
  const where = response.headers.get(NAME);
  if (!where) {
    leave();
    location.assign(response.redirected ? response.url : location.href);
    return new Promise(() => {});
  }
  if (where !== "page") return { ok: true, where: new URL(where, response.url) };
  const part = document.createElement("template");
  part.innerHTML = await response.text();
  const messages = [...part.content.querySelectorAll("[data-fc-messages] li")];
  if (messages.length) say(messages.map((each) => each.textContent).join(" "));
  part.content.querySelector("[data-fc-messages]")?.remove();
  return { ok: response.ok, part: part.content };
}

/** Ask for a part of a page. */
export async function get(address) {
  return read(await fetch(address, { headers: { [NAME]: "fragment" } }));
}

/** Send a form, as the button that was pressed would. */
export async function post(form, button, values = {}) {
  const body = new FormData(form);
  if (button?.name) body.set(button.name, button.value);
  for (const [name, value] of Object.entries(values)) body.set(name, value);
  const own = form.getAttribute("action");
  const address = button?.getAttribute("formaction") || own || form.dataset.from || location.href;
  const where = new URL(address, location);
  const response = await fetch(where, { method: "POST", headers: { [NAME]: "fragment" }, body });
  return response.headers.has(NAME) ? read(response) : submit(where, body);
}

/** Send it as a browser does: who was logged out gets a page that keeps what was typed. */
function submit(where, body) {
  const form = document.createElement("form");
  form.method = "post";
  form.action = where;
  for (const [name, value] of body) {
    if (typeof value !== "string") continue;
    const field = document.createElement("input");
    [field.type, field.name, field.value] = ["hidden", name, value];
    form.append(field);
  }
  document.body.append(form);
  leave();
  form.submit();
  return new Promise(() => {});
}

/** Say a sentence, in the one region that screen readers listen to. */
export function say(text) {
  const region = document.querySelector("[data-fc-status]");
  if (!region) return;
  region.textContent = text;
  clearTimeout(fading);
  fading = setTimeout(() => (region.textContent = ""), 10_000);
}

/** Put the regions of a part of a page in place of those with the same name. */
export function swap(part) {
  for (const fresh of part.querySelectorAll("[data-fc-region]")) {
    const name = fresh.dataset.fcRegion;
    document.querySelector(`[data-fc-region="${name}"]`)?.replaceWith(fresh);
  }
}
