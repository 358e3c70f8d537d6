// Expressions while they are typed: what is wrong, the value for an object, and completions.
// It works in any form with `data-fc-check`, for the fields that are marked as expressions.

const FIELDS = "[data-fc-check] :is([data-fc-expression], [data-fc-template])";
const PAUSE = 300;
const MOST = 50;
const known = new WeakMap();
let timer = 0;
let asking = null;
let composing = false;
let list = null;
let isPostponed = false;

const kindOf = (field) =>
  field.dataset.fcTemplate === undefined ? "expression" : field.dataset.fcTemplate || "template";

function make(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

/** Return the place of a character in a field: the server counts characters, a field units. */
const unitsUntil = (text, characters) => [...text].slice(0, characters).join("").length;

// The check -----------------------------------------------------------------------------------

/** Return the region under a field in which it is said what was found: it exists before it speaks. */
function regionOf(field) {
  const id = `${field.id}_check`;
  const found = document.getElementById(id);
  if (found) return found;
  const region = make("div", "fc-check");
  region.id = id;
  region.setAttribute("role", "status");
  (field.closest(".flex-container") || field).after(region);
  const described = field.getAttribute("aria-describedby");
  field.setAttribute("aria-describedby", described ? `${described} ${id}` : id);
  return region;
}

/** Let one region speak only: that of the field in which is typed. */
function listen(field) {
  const region = regionOf(field);
  for (const other of document.querySelectorAll(".fc-check[role]")) {
    if (other !== region) other.removeAttribute("role");
  }
  region.setAttribute("role", "status");
  return region;
}

async function ask(form, values, signal) {
  const body = new FormData();
  body.set("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
  for (const [name, value] of Object.entries(values)) body.set(name, value);
  return read(await fetch(form.dataset.fcCheck, { method: "POST", body, signal }));
}

/** Return an answer; nothing where it is not ours, such as a page to log in. */
async function read(response) {
  const isOurs = response.ok && response.headers.get("Content-Type")?.startsWith("application/json");
  return isOurs ? response.json() : null;
}

async function check(field, object = "") {
  asking?.abort();
  // A word that is being completed is not wrong yet.
  isPostponed = list?.field === field;
  if (isPostponed) return;
  const text = field.value;
  if (!text.trim()) return show(field, { problems: [], warnings: [] });
  const own = (asking = new AbortController());
  try {
    const answer = await ask(field.form, { kind: kindOf(field), text, object }, own.signal);
    if (answer && field.isConnected && field.value === text) show(field, answer, object !== "");
  } catch {
    // The request was replaced by a later one, or the server cannot be reached: saving checks too.
  }
}

function plan(field) {
  clearTimeout(timer);
  asking?.abort();
  timer = setTimeout(check, PAUSE, field);
}

function show(field, answer, isAsked = false) {
  const { problems, warnings, note, value, failure, another } = answer;
  const isInvalid = problems.length > 0;
  if (isInvalid) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
  const lines = [
    ...problems.map((each) => line(field, each, "error")),
    ...warnings.map((each) => line(field, each, "warning")),
  ];
  if (failure) lines.push(line(field, failure, "warning"));
  if (note) lines.push(valueLine(field, note, value, another));
  const region = listen(field);
  region.replaceChildren(...lines);
  if (isAsked) region.querySelector("button")?.focus();
}

function line(field, { message, position, length, suggestion, use }, kind) {
  const made = make("p", `fc-check-${kind}`, `${message} `);
  const text = field.value;
  if (!suggestion) return made;
  const button = make("button", "fc-button", use);
  button.type = "button";
  button.addEventListener("click", () => {
    // What was typed since then is about to be checked.
    if (field.value !== text) return field.focus();
    put(field, unitsUntil(text, position), unitsUntil(text, position + length), suggestion);
  });
  made.append(button);
  return made;
}

function valueLine(field, note, value, another) {
  const made = make("p", value === undefined ? "fc-check-note" : "fc-check-value", `${note} `);
  if (value !== undefined) made.append(make("strong", "", value));
  if (another?.key) {
    const button = make("button", "fc-link", another.label);
    button.type = "button";
    button.addEventListener("click", () => check(field, another.key));
    made.append(" ", button);
  }
  return made;
}

/** Write something into a field as if it was typed, so that it can be undone. */
function put(field, start, end, text) {
  field.focus();
  field.setSelectionRange(start, end);
  if (!document.execCommand("insertText", false, text)) {
    field.setRangeText(text, start, end, "end");
    field.dispatchEvent(new InputEvent("input", { bubbles: true }));
  }
}

// Completions ---------------------------------------------------------------------------------

/** Ask once a form what may be typed into its fields. */
function offersOf(form) {
  if (!known.has(form)) {
    const asked = fetch(form.dataset.fcCheck, { headers: { Accept: "application/json" } });
    known.set(form, asked.then(read).then((answer) => answer?.completions || [], () => []));
  }
  return known.get(form);
}

/** Return the code before the caret: in a template, that of the open placeholder or tag. */
function codeBefore(field) {
  const text = field.value.slice(0, field.selectionStart);
  if (kindOf(field) === "expression") return text;
  const start = Math.max(text.lastIndexOf("{{"), text.lastIndexOf("{%"));
  const end = Math.max(text.lastIndexOf("}}"), text.lastIndexOf("%}"));
  return start > end ? text.slice(start + 2) : "";
}

/** Return the word before the caret, and whether it is the name of a filter; nothing in a text. */
function wordBefore(field) {
  const code = codeBefore(field);
  const outside = code.replace(/"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'/g, "_");
  if (/["']/.test(outside)) return null;
  const [, before, word] = /(\|\s*|[.\p{N}])?((?:[\p{L}_][\p{L}\p{N}_.]*)?)$/u.exec(code);
  // The name of an item, as in `items[0].name`, and what follows a number.
  if (/[.\p{N}]/u.test(before || "")) return null;
  return { word, isFilter: Boolean(before) };
}

function matches(offers, field, { word, isFilter }) {
  const typed = word.toLowerCase();
  const depth = typed.split(".").length;
  const found = offers.filter(
    ({ kind, text, html }) =>
      (kind === "filter") === isFilter &&
      (!html || kindOf(field) === "html") &&
      (kind !== "name" || text.split(".").length === depth) &&
      text.toLowerCase().startsWith(typed) &&
      text !== word,
  );
  found.sort((one, other) => other.usable - one.usable);
  return found.slice(0, MOST);
}

/** Show what fits to what was typed; `isAsked`, also where nothing was typed yet. */
async function suggest(field, isAsked = false) {
  const before = wordBefore(field);
  if (!before || !(before.word || before.isFilter || isAsked)) return close();
  const at = field.selectionStart;
  const offers = await offersOf(field.form);
  if (field.selectionStart !== at || document.activeElement !== field || composing) return;
  const found = matches(offers, field, before);
  const isWhole = offers.some(({ text }) => text === before.word);
  if (!found.length || (isWhole && !isAsked)) return close();
  open(field, found, before.word);
}

function open(field, found, word) {
  close();
  list = make("ul", "fc-offers");
  list.id = `${field.id}_offers`;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", field.labels?.[0]?.textContent || field.name);
  found.forEach((each, index) => list.append(option(each, `${list.id}_${index}`)));
  list.field = field;
  list.word = word;
  list.popover = "manual";
  field.after(list);
  list.showPopover();
  settle(field.getBoundingClientRect());
  field.setAttribute("aria-controls", list.id);
  if (field.matches("input")) field.setAttribute("aria-expanded", "true");
  choose(list.querySelector(":not([aria-disabled])"));
}

/** Put the list under its field, or above it where there is more room. */
function settle({ left, top, bottom, width }) {
  const height = list.offsetHeight;
  const isAbove = bottom + height > innerHeight && top > innerHeight - bottom;
  list.style.inset = `${isAbove ? Math.max(0, top - height) : bottom}px auto auto ${left}px`;
  list.style.maxHeight = `${Math.min(272, (isAbove ? top : innerHeight - bottom) - 4)}px`;
  list.style.width = `${width}px`;
}

function option({ kind, text, detail, usable }, id) {
  const made = make("li", "fc-offer");
  made.id = id;
  made.setAttribute("role", "option");
  made.setAttribute("aria-selected", "false");
  if (!usable) made.setAttribute("aria-disabled", "true");
  made.dataset.text = kind === "function" ? `${text}(` : text;
  made.append(make("code", "", text), make("span", "", detail));
  return made;
}

function choose(wanted) {
  list.querySelector("[aria-selected=true]")?.setAttribute("aria-selected", "false");
  if (!wanted) return list.field.removeAttribute("aria-activedescendant");
  wanted.setAttribute("aria-selected", "true");
  wanted.scrollIntoView({ block: "nearest" });
  list.field.setAttribute("aria-activedescendant", wanted.id);
}

function close() {
  if (!list) return;
  const { field } = list;
  field.removeAttribute("aria-activedescendant");
  field.removeAttribute("aria-controls");
  if (field.matches("input")) field.setAttribute("aria-expanded", "false");
  list.remove();
  list = null;
  if (isPostponed) plan(field);
}

function accept(chosen) {
  const { field, word } = list;
  close();
  const end = field.selectionStart;
  put(field, end - word.length, end, chosen.dataset.text);
  close();
}

const MOVES = { ArrowDown: 1, ArrowUp: -1 };

/** Handle a key while the list is open; return whether it was one of the list. */
function handle(event) {
  const options = [...list.children];
  const active = list.querySelector("[aria-selected=true]");
  const isPlain = !(event.ctrlKey || event.metaKey || event.altKey || event.shiftKey);
  if (!isPlain) return false;
  if (MOVES[event.key]) {
    const next = options.indexOf(active) + MOVES[event.key];
    choose(options.at(next < options.length ? next : 0));
  } else if (event.key === "Escape") {
    close();
  } else if ((event.key === "Enter" || event.key === "Tab") && active && !active.ariaDisabled) {
    accept(active);
  } else {
    return false;
  }
  return true;
}

// Events --------------------------------------------------------------------------------------

const fieldOf = (event) => (event.target.matches?.(FIELDS) ? event.target : null);

/** Make a field a combobox; one of several lines stays a text box, which may have a list too. */
function connect(field) {
  if (field.hasAttribute("aria-autocomplete")) return;
  field.setAttribute("aria-autocomplete", "list");
  field.autocomplete = "off";
  if (!field.matches("input")) return;
  field.setAttribute("role", "combobox");
  field.setAttribute("aria-expanded", "false");
}

document.addEventListener("focusin", (event) => {
  const field = fieldOf(event);
  if (!field) return;
  connect(field);
  const region = listen(field);
  // Nothing is wrong before something was typed.
  if (field.value.trim() && !region.hasChildNodes()) plan(field);
});

document.addEventListener("input", (event) => {
  const field = fieldOf(event);
  if (!field || composing || event.isComposing) return;
  plan(field);
  suggest(field);
});

document.addEventListener("compositionstart", () => {
  composing = true;
  close();
});

document.addEventListener("compositionend", (event) => {
  composing = false;
  const field = fieldOf(event);
  if (field) plan(field);
});

document.addEventListener("focusout", (event) => list?.field === event.target && close());

// Before the editor, for which Enter and Escape have a meaning of their own.
document.addEventListener(
  "keydown",
  (event) => {
    const field = fieldOf(event);
    if (!field || composing || event.isComposing) return;
    const isHandled = list?.field === field && handle(event);
    const isAsked = !isHandled && event.ctrlKey && event.code === "Space";
    if (isAsked) suggest(field, true);
    if (!isHandled && !isAsked) return;
    event.preventDefault();
    event.stopPropagation();
  },
  true,
);

document.addEventListener("scroll", (event) => event.target !== list && close(), true);

// Before the focus leaves the field.
document.addEventListener("mousedown", (event) => {
  const chosen = event.target.closest?.(".fc-offer");
  if (!chosen || !list) return;
  event.preventDefault();
  if (!chosen.ariaDisabled) accept(chosen);
});

// A field that has the focus already.
const present = document.activeElement;
if (present?.matches(FIELDS)) {
  connect(present);
  if (present.value.trim()) plan(present);
}
