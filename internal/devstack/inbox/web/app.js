// The page works without this file; it adds times of the reader's own zone, the live update, keys and confirmations.
"use strict";

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const date = new Date(time.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    const today = date.toDateString() === new Date().toDateString();
    const full = time.hasAttribute("data-full");
    time.textContent = full ? date.toLocaleString()
      : today ? date.toLocaleTimeString() : date.toLocaleDateString(undefined, { day: "numeric", month: "short" });
    time.title = date.toLocaleString();
  }
}

// Asks for the counts every second and, where they changed, for the list. It rests while nobody looks.
function live(list) {
  let busy = false;
  const update = async () => {
    if (busy || document.hidden) return;
    busy = true;
    try {
      const summary = await (await fetch("/api/summary")).json();
      const changed = String(summary.lastId) !== list.dataset.last || String(summary.messages) !== list.dataset.count;
      if (changed) {
        const address = new URL(location.href);
        address.searchParams.set("fragment", "1");
        const answer = await fetch(address);
        if (answer.ok) replace(list, await answer.text(), summary);
      }
    } catch {
      // The inbox is away, perhaps restarting: the next second may know more.
    } finally {
      busy = false;
    }
  };
  setInterval(update, 1000);
  document.addEventListener("visibilitychange", update);
}

function replace(list, html, summary) {
  const before = new Set([...list.querySelectorAll(".list a")].map((a) => a.getAttribute("href")));
  const focused = document.activeElement?.closest(".list a")?.getAttribute("href");
  list.innerHTML = html; // rendered by the inbox itself, every value escaped
  list.dataset.last = String(summary.lastId);
  list.dataset.count = String(summary.messages);
  for (const link of list.querySelectorAll(".list a")) {
    const href = link.getAttribute("href");
    if (!before.has(href)) link.parentElement.classList.add("new");
    if (href === focused) link.focus({ preventScroll: true });
  }
  localTimes(list);
}

localTimes(document);
const list = document.querySelector("[data-live]");
if (list) live(list);

for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => {
    if (!confirm(form.dataset.confirm)) event.preventDefault();
  });
}

const narrow = document.querySelector("[data-narrow]");
if (narrow) {
  narrow.hidden = false;
  narrow.addEventListener("click", () => {
    const on = document.querySelector("iframe.mail").classList.toggle("narrow");
    narrow.setAttribute("aria-pressed", String(on));
  });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea")) return;
  if (event.key === "/" && document.getElementById("query")) {
    event.preventDefault();
    document.getElementById("query").focus();
    return;
  }
  document.querySelector(`[data-key="${CSS.escape(event.key)}"]`)?.click();
});
