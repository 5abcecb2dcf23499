"use strict";
(() => {
  const root = document.documentElement;
  const all = (s, from = document) => Array.from(from.querySelectorAll(s));

  // Theme: follows the system until the button is used.
  const button = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const say = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; say(); });
  dark.addEventListener("change", say);
  say();

  // Tooltips: text only, for the pointer and for the keyboard.
  const tip = document.getElementById("tip");
  let shown = null;
  const show = (el) => {
    if (shown) shown.classList.remove("at");
    shown = el;
    el.classList.add("at");
    tip.textContent = el.dataset.tip;
    tip.hidden = false;
    const r = el.getBoundingClientRect(), t = tip.getBoundingClientRect();
    const width = root.clientWidth;
    const x = Math.min(Math.max(8, r.left + r.width / 2 - t.width / 2), width - t.width - 8);
    const y = r.top - t.height - 10 < 4 ? r.bottom + 10 : r.top - t.height - 10;
    tip.style.setProperty("left", `${x}px`);
    tip.style.setProperty("top", `${y}px`);
  };
  const hide = () => {
    if (shown) shown.classList.remove("at");
    shown = null;
    tip.hidden = true;
  };
  document.addEventListener("pointerover", (e) => {
    const el = e.target instanceof Element ? e.target.closest("[data-tip]") : null;
    if (el) show(el); else if (shown) hide();
  });
  document.addEventListener("scroll", hide, { passive: true });
  document.addEventListener("keydown", (e) => { if (e.key === "Escape") hide(); });

  // Charts: one stop for the Tab key, then the arrows walk the points from left to right.
  for (const chart of all("svg.chart")) {
    const points = all("[data-tip]", chart);
    if (!points.length) continue;
    chart.setAttribute("tabindex", "0");
    let sorted = null;
    let at = -1;
    chart.addEventListener("keydown", (e) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[e.key];
      if (!step) return;
      e.preventDefault();
      sorted ??= points.slice().sort((a, b) => a.getBoundingClientRect().x - b.getBoundingClientRect().x);
      at = (at + step + sorted.length) % sorted.length;
      show(sorted[at]);
    });
    chart.addEventListener("blur", hide);
  }

  // Kinds of roles: a button puts the others back.
  for (const group of all("[data-filter]")) {
    const chips = all("button", group);
    for (const chip of chips) {
      chip.addEventListener("click", () => {
        const on = chip.getAttribute("aria-pressed") !== "true";
        for (const c of chips) c.setAttribute("aria-pressed", String(on && c === chip));
        for (const p of all("svg.scatter [data-group]")) {
          p.classList.toggle("dim", on && p.dataset.group !== chip.dataset.kind);
        }
      });
    }
  }

  // Tabs: without this script, and on paper, every panel is in sight.
  for (const list of all("[data-tabs]")) {
    const tabs = all("button", list);
    const panels = tabs.map((t) => document.getElementById(t.getAttribute("aria-controls")));
    const pick = (i, focus) => {
      tabs.forEach((t, j) => {
        t.setAttribute("aria-selected", String(i === j));
        t.tabIndex = i === j ? 0 : -1;
        panels[j].classList.toggle("away", i !== j);
      });
      if (focus) tabs[i].focus();
    };
    tabs.forEach((t, i) => {
      t.addEventListener("click", () => pick(i, false));
      t.addEventListener("keydown", (e) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
        if (step) { e.preventDefault(); pick((i + step + tabs.length) % tabs.length, true); }
      });
    });
    list.hidden = false;
    pick(0, false);
  }

  // Sweeps: one slider shows the same step of both networks. Without this script the pictures stand as they are.
  for (const box of all("[data-sweep]")) {
    const slider = box.querySelector("input");
    const words = slider.dataset.said.split("|");
    const turn = () => {
      for (const f of all("[data-step]", box)) f.hidden = f.dataset.step !== slider.value;
      box.querySelector("output").textContent = words[slider.value];
      slider.setAttribute("aria-valuetext", words[slider.value]);
    };
    slider.disabled = false;
    slider.addEventListener("input", turn);
    turn();
  }
})();
