// The editor on one page: picker, panel, menu of a row, keys and places. Without it, each of these
// is a page of its own: the script only asks the same addresses, and shows the answers here.

import { get, post, say, swap } from "./swap.js";

const editor = document.querySelector("[data-fc-editor]");
const panel = editor.querySelector(".fc-panel");
const dialog = document.querySelector(".fc-dialog");
const menu = document.getElementById("fc-menu");
const bar = document.querySelector(".fc-place-bar");
const home = location.pathname;
const folds = new Map();
let isChanged = false;
let current = null;
let pending = Promise.resolve();

const tree = () => editor.querySelector(".fc-tree");
const stepOf = (element) => element?.closest("li.fc-step");
const idOf = (step) => step.id.replace("step-", "");
const linkOf = (step) => step?.querySelector(":scope > .fc-row > .fc-open");
const address = (step, name) => `${home}steps/${idOf(step)}/${name}/`;

/** Do one thing after the other, and show that something is being done. */
function inTurn(work) {
  pending = pending.then(async () => {
    editor.ariaBusy = "true";
    try {
      await work();
    } catch (error) {
      say(String(error.message || error));
    } finally {
      editor.ariaBusy = "false";
    }
  });
  return pending;
}

// The tree ------------------------------------------------------------------------------------

const ITEMS = "a.fc-open, summary.fc-lb, .fc-br:not(:has(> details)) > .fc-first";
const items = () => [...tree().querySelectorAll(ITEMS)].filter((each) => each.checkVisibility());

/** What is reached by Tab from an item of the tree: its own links and buttons. */
function toolsOf(item) {
  const box = item.matches(".fc-open") ? item.closest("li") : item.closest(".fc-br");
  return box.querySelectorAll(":scope > .fc-row :is(a, button), :scope > .fc-plus");
}

/** Let Tab stop at one item of the tree only, and at its tools. */
function rove(item) {
  if (!item) return;
  for (const each of tree().querySelectorAll("a, button, summary")) each.tabIndex = -1;
  for (const each of [item, ...toolsOf(item)]) each.tabIndex = 0;
  for (const each of tree().querySelectorAll(".fc-add, .fc-beads > li:first-child summary")) {
    each.tabIndex = 0;
  }
  current = item;
}

/** Give each row its handle and its menu. Without them, both are on the page of the step. */
function equip() {
  for (const step of tree().querySelectorAll("li.fc-step")) {
    const name = linkOf(step).querySelector("b").textContent;
    for (const [kind, text] of [["grip", tree().dataset.move], ["more", tree().dataset.more]]) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = `fc-b fc-${kind}`;
      button.ariaLabel = `${text} ${name}`;
      step.firstElementChild.append(button);
    }
  }
}

/** Open what a step is folded into. */
function reveal(step) {
  for (let fold = step?.parentElement; fold; fold = fold.parentElement) {
    if (fold.matches("details")) fold.open = true;
  }
}

/** Show the tree as it is now, and put the focus where it was, or on the named element. */
async function refresh(hash = "") {
  const before = document.activeElement?.closest(".fc-tree") && stepOf(document.activeElement)?.id;
  const { part } = await get(home);
  if (!part) return;
  swap(part);
  equip();
  for (const [place, open] of folds) {
    const fold = tree().querySelector(`[data-place="${place}"] > details`);
    if (fold) fold.open = open;
  }
  focusOn(hash.slice(1) || before || (current && stepOf(current)?.id), Boolean(hash));
}

function focusOn(id, isWanted) {
  const target = id && document.getElementById(id);
  const step = target && stepOf(target);
  reveal(step);
  rove(linkOf(step) || items()[0]);
  mark();
  if (!isWanted || !target) return;
  (linkOf(step) || target).focus();
  (step?.querySelector(".fc-row") || target).scrollIntoView({ block: "nearest" });
}

/** Show which step the panel is about. */
function mark() {
  for (const each of tree().querySelectorAll("[aria-current]")) each.removeAttribute("aria-current");
  const step = panel.hidden ? null : document.getElementById(`step-${panel.dataset.step}`);
  linkOf(step)?.setAttribute("aria-current", "true");
}

/** Continue where an answer says: in the tree, at a form beside it, or on another page. */
async function follow({ where, part, ok }, from) {
  if (part) return showPanel(part, from);
  if (where.pathname === home) {
    if (ok) closePanel();
    return refresh(where.hash || "#steps");
  }
  if (!where.pathname.startsWith(home)) return location.assign(where);
  await refresh();
  return openPanel(where);
}

// The panel -----------------------------------------------------------------------------------

async function openPanel(where) {
  const answer = await get(where);
  return answer.part ? showPanel(answer.part, where) : follow(answer);
}

function showPanel(part, from) {
  const close = document.createElement("button");
  close.type = "button";
  close.className = "fc-b fc-close";
  close.ariaLabel = document.querySelector("[data-fc-stop]").dataset.close;
  close.textContent = "✕";
  panel.replaceChildren(close, part);
  for (const form of panel.querySelectorAll("form")) form.dataset.from = new URL(from, location);
  panel.dataset.step = /\/steps\/([^/]+)\//.exec(String(from))?.[1] || "";
  panel.hidden = false;
  isChanged = false;
  const step = document.getElementById(`step-${panel.dataset.step}`);
  reveal(step);
  if (step) rove(linkOf(step));
  mark();
  const title = panel.querySelector("h2");
  title.tabIndex = -1;
  const first = panel.querySelector("[autofocus]");
  (first || panel.querySelector(".submit-row :is(input, button)") || title).focus();
  // What is typed into a new step replaces what it begins with.
  if (String(from).endsWith("?new")) first?.select?.();
}

function closePanel() {
  panel.hidden = true;
  panel.replaceChildren();
  isChanged = false;
  mark();
}

/** Save what was typed into the panel before something else is shown; return whether that may be. */
async function settle() {
  const form = panel.querySelector("form.fc-form");
  if (panel.hidden || !isChanged || !form) return true;
  const answer = await post(form, form.querySelector("input[type=submit]"));
  if (answer.part) {
    showPanel(answer.part, form.dataset.from);
    return false;
  }
  closePanel();
  await refresh();
  return true;
}

// The picker ----------------------------------------------------------------------------------

async function pick(where) {
  const { part } = await get(where);
  if (!part) return;
  dialog.replaceChildren(part);
  for (const form of dialog.querySelectorAll("form[method=post]")) form.dataset.from = where;
  offerRecent();
  dialog.showModal();
  dialog.querySelector("input[type=search]")?.focus();
}

const RECENT = "flowcontrol.recent";
const MOST_RECENT = 4;
const recent = () => JSON.parse(localStorage.getItem(RECENT) || "[]");

function remember(action) {
  const kept = [action, ...recent().filter((each) => each !== action)].slice(0, MOST_RECENT);
  localStorage.setItem(RECENT, JSON.stringify(kept));
}

/** Show what was used lately above all groups. */
function offerRecent() {
  const first = dialog.querySelector(".fc-group-section");
  const known = recent().map((each) => dialog.querySelector(`.fc-opt[value="${CSS.escape(each)}"]`));
  const lines = known.filter(Boolean).map((each) => each.closest("li").cloneNode(true));
  if (!first || !lines.length) return;
  const group = first.cloneNode(true);
  group.classList.add("fc-recent");
  group.querySelector("h2").textContent = dialog.dataset.recent;
  group.querySelector("ul").replaceChildren(...lines);
  group.removeAttribute("aria-labelledby");
  group.querySelector("h2").removeAttribute("id");
  group.ariaLabel = dialog.dataset.recent;
  first.before(group);
}

const offers = () => [...dialog.querySelectorAll(".fc-opt, .fc-card a.fc-button")].filter((each) => each.checkVisibility());

/** Return the offer whose name begins with what was typed, or else the first one. */
function best(text) {
  const named = (each) => each.textContent.trim().toLowerCase().startsWith(text.trim().toLowerCase());
  return offers().find(named) || offers()[0];
}

/** Show the offers in which each typed word occurs. */
function narrow(text) {
  const words = text.toLowerCase().split(/\s+/);
  for (const each of dialog.querySelectorAll(".fc-group-section li")) {
    const found = each.dataset.words || each.textContent.toLowerCase();
    each.hidden = !words.every((word) => found.includes(word));
  }
  for (const group of dialog.querySelectorAll(".fc-group-section")) {
    const isAgain = text && group.matches(".fc-recent");
    group.hidden = isAgain || !group.querySelector("li:not([hidden])");
  }
  for (const each of dialog.querySelectorAll(".fc-best")) each.classList.remove("fc-best");
  if (text) best(text)?.classList.add("fc-best");
}

// The menu of a row ---------------------------------------------------------------------------

function openMenu(button) {
  const step = stepOf(button);
  const box = button.getBoundingClientRect();
  for (const each of menu.querySelectorAll("[data-fc-op]")) {
    const where = address(step, each.dataset.fcOp);
    each.setAttribute(each.matches("a") ? "href" : "formaction", where);
    const state = step.dataset.off === undefined ? "on" : "off";
    each.hidden = each.dataset.fcWhen !== undefined && each.dataset.fcWhen !== state;
  }
  menu.dataset.step = step.id;
  menu.showPopover();
  const room = innerHeight - menu.offsetHeight - 8;
  menu.style.inset = `${Math.max(8, Math.min(box.bottom, room))}px auto auto ${Math.max(8, box.right - menu.offsetWidth)}px`;
  menu.querySelector(".fc-item:not([hidden])").focus();
}

/** Send a button of the menu, with what the row shows: an edit that comes too late is refused. */
async function press(step, button) {
  const list = step.parentElement.dataset.order;
  const shown = button.dataset.fcShown === "order" ? list : step.dataset.seen;
  const form = document.getElementById("fc-edit");
  const from = address(step, button.dataset.fcOp);
  await follow(await post(form, button, { seen: shown }), from);
}

function shift(step, by) {
  const button = menu.querySelector(`[data-fc-op=shift][value="${by}"]`);
  button.setAttribute("formaction", address(step, "shift"));
  return press(step, button);
}

// The clipboard -------------------------------------------------------------------------------

const KEPT = "flowcontrol.clipboard";

/** Copy a step with everything inside it; return whether that was possible. */
async function copy(step) {
  const { part } = await get(address(step, "copy"));
  const text = part?.querySelector("textarea")?.value;
  if (!text) return part ? showPanel(part, address(step, "copy")) && false : false;
  // The browser may refuse its own clipboard: then it is kept for this site only.
  localStorage.setItem(KEPT, text);
  await navigator.clipboard?.writeText(text).catch(() => {});
  say(tree().dataset.copied.replace("{}", linkOf(step).querySelector("b").textContent));
  return true;
}

async function cut(step) {
  if (!(await copy(step))) return;
  const from = address(step, "delete");
  const { part } = await get(from);
  const form = part?.querySelector("form");
  if (!form) return;
  form.dataset.from = from;
  await follow(await post(form, null), from);
}

/** Put copied steps after a step; ask for the text where there is none. */
async function paste(step, given = "") {
  const plus = step.querySelector(":scope > .fc-plus");
  if (!plus) return;
  const from = plus.href.replace("add-step/", "paste/");
  const { part } = await get(from);
  const form = part?.querySelector("form");
  if (!form) return part && showPanel(part, from);
  const text = given || (await readClipboard());
  if (!text) return showPanel(part, from);
  form.dataset.from = from;
  await follow(await post(form, null, { text }), from);
}

async function readClipboard() {
  const text = await navigator.clipboard?.readText?.().catch(() => "");
  return /^steps:/m.test(text || "") ? text : localStorage.getItem(KEPT);
}

const CLIPS = { copy, cut, paste };

// Places --------------------------------------------------------------------------------------

let moving = null;

/** Let a step be put somewhere else: the server says which places are legal, and names them. */
async function choosePlace(step) {
  if (!step) return;
  const from = address(step, "move");
  const { part } = await get(from);
  const select = part?.querySelector("select");
  if (!select) return part && showPanel(part, from);
  moving = { form: select.form, select: select.name, step, folds: [] };
  moving.form.dataset.from = from;
  for (const fold of tree().querySelectorAll(".fc-br > details:not([open])")) {
    fold.open = true;
    moving.folds.push(fold);
  }
  step.classList.add("fc-moved-step");
  tree().classList.add("fc-placing");
  for (const each of tree().querySelectorAll(".fc-row, summary, .fc-plus, .fc-add")) each.inert = true;
  const gaps = [...select.options].map(gap);
  bar.firstElementChild.textContent = `${part.querySelector("h2").textContent}: ${bar.dataset.hint}`;
  bar.hidden = false;
  (gaps[select.selectedIndex] || gaps[0])?.focus();
}

/** Make the target for a place, at the step that will follow it, or at the end of its list. */
function gap(option) {
  const [parent, branch, index] = option.value.split("/");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "fc-place";
  button.value = option.value;
  const words = document.createElement("span");
  words.textContent = option.textContent;
  button.append(words);
  button.ariaLabel = option.textContent;
  const box = parent
    ? document.querySelector(`#step-${CSS.escape(parent)} > [data-place="${parent}/${branch}/0"]`)
    : tree();
  const list = box.querySelector(":scope > ol.fc-list[data-order], :scope > details > ol.fc-list");
  const steps = [...(list?.children || [])].filter((each) => each !== moving.step);
  if (steps[index]) steps[index].prepend(button);
  else (steps.at(-1) || list || box).append(button);
  button.classList.toggle("fc-place-end", !steps[index]);
  return button;
}

function stopPlacing() {
  const { step, folds: opened } = moving;
  moving = null;
  bar.hidden = true;
  for (const each of tree().querySelectorAll(".fc-place")) each.remove();
  for (const each of tree().querySelectorAll("[inert]")) each.inert = false;
  for (const fold of opened) fold.open = false;
  tree().classList.remove("fc-placing");
  step.classList.remove("fc-moved-step");
  reveal(step);
  linkOf(step)?.focus();
}

async function place(button) {
  const { form, select } = moving;
  const answer = await post(form, form.querySelector("input[type=submit]"), { [select]: button.value });
  const from = form.dataset.from;
  stopPlacing();
  await follow(answer, from);
}

const isPlain = (event) => !(event.ctrlKey || event.metaKey || event.shiftKey || event.button);

// Dragging is choosing a place by the pointer: the same gaps, the same answer of the server.

const SLACK = 6;
let drag = null;

document.addEventListener("pointerdown", (event) => {
  const grip = event.target.closest(".fc-tree .fc-grip");
  if (grip && isPlain(event)) drag = { step: stepOf(grip), from: event.clientY, isOn: false };
});

document.addEventListener("pointermove", (event) => {
  if (!drag) return;
  if (!drag.isOn && Math.abs(event.clientY - drag.from) > SLACK) {
    drag.isOn = true;
    inTurn(async () => (await settle()) && choosePlace(drag?.step || null));
  }
  if (drag.isOn && moving) nearest(event.clientY)?.focus({ preventScroll: true });
});

document.addEventListener("pointerup", (event) => {
  const isOn = drag?.isOn;
  drag = null;
  if (!isOn) return;
  // The click that follows is the end of the drag, and no press of the handle.
  const swallow = (click) => click.stopPropagation();
  addEventListener("click", swallow, { capture: true });
  setTimeout(() => removeEventListener("click", swallow, { capture: true }), 50);
  inTurn(() => moving && place(nearest(event.clientY)));
});

document.addEventListener("pointercancel", () => (drag = null));

function nearest(y) {
  const away = (each) => {
    const { top, height } = each.getBoundingClientRect();
    return Math.abs(top + height / 2 - y);
  };
  return [...tree().querySelectorAll(".fc-place")].sort((a, b) => away(a) - away(b))[0];
}

// Events --------------------------------------------------------------------------------------

const CLICKS = [
  [".fc-place", (found) => place(found)],
  ["[data-fc-stop]", () => stopPlacing()],
  [".fc-close, .fc-panel .closelink", () => (closePanel(), current?.focus())],
  [".fc-tree .fc-grip, #fc-menu [data-fc-op=move]", async (found) => (await settle()) && choosePlace(stepFor(found))],
  [".fc-tree .fc-more", (found) => openMenu(found)],
  [".fc-tree a[href*='add-step/'], #fc-menu [href*='add-step/']", async (found) => (await settle()) && pick(found.href)],
  [".fc-tree a.fc-open[href*='steps/'], #fc-menu a[data-fc-op]", async (found) => (await settle()) && openPanel(found.href)],
  [".fc-add-trigger", async (found) => (await settle()) && pick(found.href)],
  [".fc-beads .fc-said a, .fc-dialog a.fc-button", async (found) => (await settle()) && (dialog.close(), openPanel(found.href))],
  ["#fc-menu [data-fc-clip]", async (found) => (await settle()) && CLIPS[found.dataset.fcClip](stepFor(found))],
  [".fc-tree summary .fc-peek i:only-child", (found) => openLine(found)],
  [".fc-dialog .fc-back", () => dialog.close()],
];

/** Return the step of a row, or that for which the menu is open. */
const stepFor = (element) => stepOf(element) || document.getElementById(menu.dataset.step);

/** Open a branch that is shown as one line, and the form of its step. */
async function openLine(found) {
  const fold = found.closest("details");
  fold.open = true;
  if (await settle()) await openPanel(linkOf(fold.querySelector("li.fc-step")).href);
}

document.addEventListener("click", (event) => {
  if (!isPlain(event)) return;
  const summary = event.target.closest(".fc-tree summary.fc-lb");
  for (const [selector, handle] of CLICKS) {
    const found = event.target.closest(selector);
    if (!found) continue;
    event.preventDefault();
    if (menu.contains(found)) menu.hidePopover();
    inTurn(() => handle(found));
    return;
  }
  if (summary) folds.set(summary.closest("[data-place]").dataset.place, !summary.parentElement.open);
});

document.addEventListener("submit", (event) => {
  const { target: form, submitter } = event;
  const isOurs = form.id === "fc-edit" || panel.contains(form) || dialog.contains(form);
  if (!isOurs) return;
  event.preventDefault();
  if (form.method === "get") return best(form.elements.q.value)?.click();
  const step = menu.contains(submitter) && document.getElementById(menu.dataset.step);
  if (step) menu.hidePopover();
  inTurn(async () => {
    if (step) return (await settle()) && press(step, submitter);
    const answer = await post(form, submitter);
    if (submitter?.name === "action" && answer.where) remember(submitter.value);
    if (dialog.open) dialog.close();
    return follow(answer, form.dataset.from || home);
  });
});

document.addEventListener("input", (event) => {
  if (panel.contains(event.target)) isChanged = true;
  if (event.target.matches(".fc-dialog input[type=search]")) narrow(event.target.value);
});

document.addEventListener("focusin", (event) => {
  if (event.target.matches(ITEMS) && tree().contains(event.target) && event.target !== current) rove(event.target);
});

/** Move the focus by one in a list of elements. */
function step(list, by, event) {
  const at = list.indexOf(document.activeElement);
  const next = list[at + by] || (at < 0 && list[0]);
  if (!next) return;
  event.preventDefault();
  next.focus();
}

const BY = { ArrowUp: -1, ArrowDown: 1 };

const KEYS = {
  a: (item, row) => (row || item.closest(".fc-br")).querySelector(":scope > .fc-plus")?.click(),
  m: (item, row) => row?.querySelector(":scope > .fc-row > .fc-grip")?.click(),
  Delete: (item, row) => row && inTurn(async () => (await settle()) && openPanel(address(row, "delete"))),
  ArrowLeft: (item) => item.matches("summary") && (item.parentElement.open = false),
  ArrowRight: (item) => item.matches("summary") && (item.parentElement.open = true),
  Home: () => items()[0].focus(),
  End: () => items().at(-1).focus(),
};

/** Handle a key on an item of the tree. */
function handleKey(event) {
  const item = event.target;
  const row = item.matches(".fc-open") ? stepOf(item) : null;
  const by = BY[event.key];
  if (by && event.altKey) {
    event.preventDefault();
    if (row) inTurn(() => shift(row, by));
  } else if (by) {
    step(items(), by, event);
  } else if (KEYS[event.key] && !event.altKey && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    KEYS[event.key](item, row);
  }
}

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (moving) {
    if (BY[key]) step([...tree().querySelectorAll(".fc-place")], BY[key], event);
    if (key === "Escape") stopPlacing();
  } else if (dialog.open) {
    if (BY[key]) step([dialog.querySelector("input[type=search]"), ...offers()], BY[key], event);
  } else if (menu.contains(target)) {
    if (BY[key]) step([...menu.querySelectorAll(".fc-item:not([hidden])")], BY[key], event);
  } else if (panel.contains(target)) {
    if (key === "Escape") panel.querySelector(".fc-close").click();
    if (key === "s" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      panel.querySelector(".submit-row input[type=submit]")?.click();
    }
  } else if (target.matches(ITEMS) && tree().contains(target)) {
    handleKey(event);
  }
});

for (const kind of ["copy", "cut", "paste"]) {
  document.addEventListener(kind, (event) => {
    const row = event.target.closest?.(".fc-tree a.fc-open") && stepOf(event.target);
    if (!row || String(getSelection())) return;
    event.preventDefault();
    const given = kind === "paste" ? event.clipboardData.getData("text/plain") : "";
    inTurn(async () => (await settle()) && CLIPS[kind](row, /^steps:/m.test(given) ? given : ""));
  });
}

document.addEventListener("fc:leave", () => (isChanged = false));
addEventListener("beforeunload", (event) => isChanged && event.preventDefault());
equip();
focusOn(location.hash.slice(1) || null, Boolean(location.hash));
