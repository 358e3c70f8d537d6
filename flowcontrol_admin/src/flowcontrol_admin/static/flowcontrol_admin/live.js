/* Keeps a page up to date: asks for what has changed (`data-fc-live`) and swaps only that.
   It waits longer while nothing changes, and asks nothing while the page is hidden, paused or over. */
const SHORTEST = 2000, LONGEST = 30000, LONGEST_AFTER_ERRORS = 120000;

/** Returns what finds an element again in the next answer. */
const keyOf = element =>
  element.id ? `#${CSS.escape(element.id)}`
    : element.matches?.("summary") && element.parentElement?.id ? `#${CSS.escape(element.parentElement.id)} > summary`
    : element.getAttribute?.("href") ? `a[href="${CSS.escape(element.getAttribute("href"))}"]`
    : null;

/** Takes over which parts are open and how far they are scrolled. */
const keep = (before, after) => {
  for (const one of after.querySelectorAll("details[id]")) {
    const old = before.querySelector(`#${CSS.escape(one.id)}`);
    if (old) one.open = old.open;
  }
};

/** Swaps what differs among the children of two elements; children with an id are matched by it. */
const swap = (before, after) => {
  const known = new Map([...before.children].filter(one => one.id).map(one => [one.id, one]));
  const kept = [...after.children].map(fresh => {
    const old = fresh.id && known.get(fresh.id);
    if (!old || old.tagName !== fresh.tagName) return fresh;
    if (old.isEqualNode(fresh)) return old;
    if ("fcKeyed" in fresh.dataset && "fcKeyed" in old.dataset) {
      swap(old, fresh);
      return old;
    }
    return fresh;
  });
  for (const one of [...before.children]) if (!kept.includes(one)) one.remove();
  kept.forEach((one, place) => {
    if (before.children[place] !== one) before.insertBefore(one, before.children[place] ?? null);
  });
};

class Live {
  constructor(root) {
    this.root = root;
    this.tag = root.dataset.fcTag;
    this.delay = SHORTEST;
    this.isPaused = false;
    this.bar = document.querySelector("[data-fc-live-bar]");
    this.said = document.querySelector("[data-fc-said]");
    this.stop = new AbortController();
    const {signal} = this.stop;
    document.addEventListener("visibilitychange", () => this.restart(), {signal});
    this.bar?.querySelector("[data-fc-live-pause]").addEventListener("click", () => this.pause(), {signal});
    if (this.bar) this.bar.hidden = this.isOver;
    this.plan();
  }

  get isOver() { return Boolean(this.root.querySelector("[data-fc-ended]")); }

  disconnect() { this.stop.abort(); clearTimeout(this.timer); }

  plan() {
    clearTimeout(this.timer);
    if (this.isOver || this.isPaused || document.hidden) return;
    this.timer = setTimeout(() => this.ask(), this.delay);
  }

  restart() { this.delay = SHORTEST; this.plan(); }

  pause() {
    this.isPaused = !this.isPaused;
    const button = this.bar.querySelector("[data-fc-live-pause]");
    button.setAttribute("aria-pressed", this.isPaused);
    this.bar.querySelector("[data-fc-live-on]").hidden = this.isPaused;
    this.bar.querySelector("[data-fc-live-off]").hidden = !this.isPaused;
    this.restart();
  }

  async ask() {
    const headers = {"X-Flowcontrol": "live", "If-None-Match": this.tag ?? ""};
    let longest = LONGEST;
    try {
      const answer = await fetch(location.href, {headers, cache: "no-store", redirect: "error", signal: this.stop.signal});
      if (answer.status === 200) {
        const html = await answer.text();
        // Paused meanwhile: what is being read stays.
        if (this.isPaused) return;
        this.tag = answer.headers.get("ETag");
        this.show(html);
        this.delay = SHORTEST / 1.5;
      } else if (answer.status !== 304) longest = LONGEST_AFTER_ERRORS;
    } catch (error) {
      if (error.name === "AbortError") return;
      longest = LONGEST_AFTER_ERRORS;
    }
    this.delay = Math.min(this.delay * (longest === LONGEST ? 1.5 : 3), longest);
    this.plan();
  }

  show(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html").body;
    keep(this.root, fresh);
    const focused = this.root.contains(document.activeElement) ? keyOf(document.activeElement) : null;
    const before = this.heading;
    swap(this.root, fresh);
    if (focused && !this.root.contains(document.activeElement)) {
      this.root.querySelector(focused)?.focus({preventScroll: true});
    }
    if (this.said && this.heading !== before) this.said.textContent = this.heading;
    if (this.bar) this.bar.hidden = this.isOver;
  }

  get heading() { return this.root.querySelector("[data-fc-heading]")?.textContent ?? ""; }
}

const running = new Map();
const connect = () => {
  for (const [root, live] of running) {
    if (!root.isConnected) { live.disconnect(); running.delete(root); }
  }
  for (const root of document.querySelectorAll("[data-fc-live]")) {
    if (!running.has(root)) running.set(root, new Live(root));
  }
};
new MutationObserver(connect).observe(document.documentElement, {childList: true, subtree: true});
connect();
