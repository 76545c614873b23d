"use strict";
(() => {
  // Without an event for so long there is nobody at the other end.
  const SILENT = 25000;
  // What somebody is just selecting is not taken out of their hands, for so long.
  const HELD = 30000;
  const live = document.getElementById("live");
  let events = null, heard = Date.now(), held = 0, loading = false, again = false, lost = "";
  const say = (kind, words) => {
    live.className = "live " + kind;
    if (live.textContent !== words) live.textContent = words;
    document.querySelector("main").classList.toggle("old", kind === "off");
  };
  const put = (text) => {
    const page = new DOMParser().parseFromString(text, "text/html");
    const version = (of) => of.querySelector("meta[name=version]")?.content;
    if (version(page) !== version(document)) return location.reload();
    for (const open of document.querySelectorAll("details[open]")) {
      page.getElementById(open.id)?.setAttribute("open", "");
    }
    const focus = document.activeElement?.id;
    document.querySelector("main").replaceWith(document.adoptNode(page.querySelector("main")));
    document.title = page.title;
    document.querySelector("link[rel=icon]").href = page.querySelector("link[rel=icon]").getAttribute("href");
    if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
  };
  const selects = () => {
    const selection = getSelection();
    return !selection.isCollapsed && selection.getRangeAt(0).intersectsNode(document.querySelector("main"));
  };
  // Since when it is held; 0: it is not.
  const hold = () => {
    held = selects() ? held || Date.now() : 0;
    if (Date.now() - held >= HELD) held = 0;
    return held;
  };
  const load = async () => {
    if (document.hidden || loading) { again = loading; return; }
    loading = true;
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(10000) });
      const text = await answer.text();
      if (!answer.ok && answer.status !== 404) throw new Error(String(answer.status));
      lost = "";
      if (hold()) {
        say("", "held while you select");
      } else {
        say(events?.readyState === 1 ? "on" : "", events?.readyState === 1 ? "live" : "looks every 10 s");
        put(text);
      }
    } catch {
      lost ||= new Date().toTimeString().slice(0, 8);
      say("off", "no answer since " + lost + ": this is old");
    }
    loading = false;
    if (again) { again = false; load(); }
  };
  const word = () => { heard = Date.now(); load(); };
  const listen = () => {
    events?.close();
    events = null;
    if (document.hidden) return;
    heard = Date.now();
    events = new EventSource("/events");
    for (const name of ["changed", "alive"]) events.addEventListener(name, word);
    events.onerror = load;
  };
  document.addEventListener("selectionchange", () => { if (held && !selects()) { held = 0; load(); } });
  document.addEventListener("visibilitychange", () => { listen(); load(); });
  setInterval(() => {
    if (document.hidden) return;
    if (events?.readyState !== 2 && Date.now() - heard < SILENT) return;
    listen();
    load();
  }, 10000);
  listen();
})();
