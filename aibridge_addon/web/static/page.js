// Live rows, keys, copying and ages of times. Everything else works without a script.
"use strict";
(() => {
  const MOST_ROWS = 300;
  const find = (selector, root = document) => root.querySelector(selector);

  function live(body) {
    const state = find("#live-state");
    const show = (text, on) => {
      if (!state) return;
      state.textContent = text;
      state.classList.toggle("on", on);
    };
    const source = new EventSource(body.dataset.live);
    source.addEventListener("open", () => show("live", true));
    source.addEventListener("error", () => show("reconnecting …", false));
    source.addEventListener("signed-out", () => {
      source.close();
      location.reload();
    });
    source.addEventListener("row", (event) => {
      const { id, html } = JSON.parse(event.data);
      const template = document.createElement("template");
      template.innerHTML = html.trim(); // rendered and escaped by the server, as all rows are
      const row = template.content.firstElementChild;
      find(`tr[data-id="${CSS.escape(id)}"]`, body)?.remove();
      row.classList.add("arrived");
      body.prepend(row);
      body.closest("[hidden]")?.removeAttribute("hidden");
      find(".empty")?.remove();
      while (body.rows.length > MOST_ROWS) body.deleteRow(-1);
    });
  }

  function ages() {
    const units = [["s", 1, 60], ["min", 60, 60], ["h", 3600, 24], ["d", 86400, 14]];
    for (const time of document.querySelectorAll("time[datetime]")) {
      const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(time.dateTime)) / 1000));
      const unit = units.find(([, length, most]) => seconds < length * most);
      if (unit) time.textContent = `${Math.floor(seconds / unit[1])} ${unit[0]} ago`;
    }
  }

  async function copy(button) {
    const area = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(area.value);
    } catch { // a page without TLS on another host has no clipboard
      area.closest("details").open = true;
      area.select();
      document.execCommand("copy");
    }
    const label = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 1500);
  }

  function move(step) {
    const links = [...document.querySelectorAll("a.open")];
    if (!links.length) return;
    const at = links.indexOf(document.activeElement);
    const start = at < 0 ? links.findIndex((link) => link.hasAttribute("aria-current")) : at;
    const next = Math.min(links.length - 1, Math.max(0, start + step));
    links[next].focus();
    links[next].scrollIntoView({ block: "nearest" });
  }

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select");
    if (event.key === "Escape" && typing) typing.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") {
      event.preventDefault();
      find(".find input")?.focus();
    } else if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });
  setInterval(ages, 20000);
  find(".turns [aria-current]")?.scrollIntoView({ block: "nearest" });
  const body = find("[data-live]");
  if (body) live(body);
})();
