"use strict";
// The dashboard: everything that comes from a model or a user reaches the page as text nodes alone, never as markup.
(() => {
  const PAGE = 100; // conversations of one request
  const QUIET_MS = 45000; // the service sends a comment every 15 s; a stream silent for three of them is dead
  const NEAR_MS = 150; // events come in bursts: one reload for a burst,
  const NEXT_MS = 2000; // and no more than one in so long, since a key may be bound to so many requests a minute
  const STATUS_MS = 10000; // how many requests run is in no event
  const SVG = "http://www.w3.org/2000/svg";
  const KEY = "homing.key";
  const byId = (id) => document.getElementById(id);

  // -- elements and words ------------------------------------------------------------------------------------------------

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : String(value));
    }
    element.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
    return element;
  }
  const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const s = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

  /** Set text only where it differs, so that a live update does not make a screen reader say it again. */
  function put(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  const number = (x) => typeof x === "number" && Number.isFinite(x);
  const two = (x) => (number(x) ? x.toFixed(2).replace(/^-(?=0\.00$)/, "").replace("-", "\u2212") : "\u2013");
  const signed = (x) => (number(x) && x >= 0.005 ? `+${two(x)}` : two(x));
  const many = (n, one, more = `${one}s`) => `${n} ${n === 1 ? one : more}`;
  const from1 = (index) => Number(index) + 1; // turns are counted from 0 in the JSON and from 1 for people

  /** Names with their invisible characters shown: an id must not be able to look like another. */
  const plain = (value) =>
    String(value ?? "").replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
  const short = (id) => (plain(id).length > 22 ? `${plain(id).slice(0, 14)}\u2026${plain(id).slice(-4)}` : plain(id));
  const spoken = (content) => (typeof content === "string" ? content : JSON.stringify(content ?? ""));

  function ago(seconds) {
    const past = Math.max(0, Date.now() / 1000 - seconds);
    if (past < 10) return "just now";
    for (const [length, unit] of [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]]) {
      if (past >= length) return `${many(Math.floor(past / length), unit)} ago`;
    }
    return "just now";
  }

  function setTime(element, seconds) {
    if (!number(seconds)) return put(element, "\u2013");
    const date = new Date(seconds * 1000);
    element.dataset.at = String(seconds);
    element.setAttribute("datetime", date.toISOString());
    element.setAttribute("title", date.toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" }));
    return put(element, ago(seconds));
  }

  // -- the service ---------------------------------------------------------------------------------------------------------

  const AWAY = "The service cannot be reached.";

  class Problem extends Error {
    constructor(status, message) {
      super(message);
      this.status = status;
    }
  }

  let key = sessionStorage.getItem(KEY);
  const headers = (more = {}) => (key === null ? more : { ...more, Authorization: `Bearer ${key}` });

  async function problemOf(response) {
    try {
      const told = (await response.json()).error.message;
      if (typeof told === "string" && told) return new Problem(response.status, told);
    } catch { /* something between us and the service answered, in its own words */ }
    return new Problem(response.status, `The service answered with HTTP ${response.status}.`);
  }

  async function ask(method, path, body) {
    const options = { method, headers: headers(body === undefined ? {} : { "Content-Type": "application/json" }), cache: "no-store" };
    if (body !== undefined) options.body = JSON.stringify(body);
    if (method === "GET") options.signal = AbortSignal.timeout(30000);
    const sent = key;
    let response;
    try {
      response = await fetch(`v1/${path}`, options);
    } catch (e) {
      throw new Problem(0, e.name === "TimeoutError" ? "The service did not answer within 30 s." : AWAY);
    }
    if (response.status === 401 && sent === key) demandKey();
    if (!response.ok) throw await problemOf(response);
    try {
      return await response.json();
    } catch {
      throw new Problem(response.status, "What the service answered is no JSON.");
    }
  }
  const get = (path) => ask("GET", path);
  const place = (id, rest = "") => `conversations/${encodeURIComponent(id)}${rest}`;

  // -- what happened, said once --------------------------------------------------------------------------------------------

  let keepWords = false; // what was said belongs to the next view too

  let saidTimer = 0; // what went well need not be closed by hand; what went wrong stays

  function say(text, wrong = false) {
    put(byId("said"), wrong ? "" : text);
    put(byId("wrong"), wrong ? text : "");
    byId("hush").hidden = !text;
    clearTimeout(saidTimer);
    if (text && !wrong) saidTimer = setTimeout(() => say(""), 12000);
  }
  const complain = (e) => {
    if (!(e instanceof Problem)) throw e;
    if (e.status !== 401) say(e.message, true);
  };

  /** Of a reload that nobody asked for: a service that is away is told as the state of the connection. */
  const complainQuietly = (e) => {
    if (e.status !== 0 || live.failures === 0) complain(e);
  };

  /** Run a control's request: not twice at once, and what came of it said in words. */
  async function act(button, busy, work) {
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    say(busy);
    try {
      say(await work());
    } catch (e) {
      complain(e);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  }

  // -- live events ---------------------------------------------------------------------------------------------------------

  /** Server-sent events out of text that is cut anywhere. */
  function eventParser(onEvent, onId) {
    let rest = "", kind = "", data = [], first = true;
    function line(text) {
      if (text === "") {
        if (data.length) onEvent(kind || "message", data.join("\n"));
        kind = "";
        data = [];
        return;
      }
      const colon = text.indexOf(":");
      const name = colon < 0 ? text : text.slice(0, colon);
      const value = colon < 0 ? "" : text.slice(colon + 1).replace(/^ /, "");
      if (name === "data") data.push(value);
      else if (name === "event") kind = value;
      else if (name === "id" && !value.includes("\0")) onId(value);
    }
    return (chunk) => {
      rest += chunk;
      if (first && rest) {
        rest = rest.replace(/^\ufeff/, "");
        first = false;
      }
      for (;;) {
        const end = rest.search(/[\r\n]/);
        // a carriage return at the very end may be half of a line's end
        if (end < 0 || (rest[end] === "\r" && end === rest.length - 1)) return;
        const width = rest[end] === "\r" && rest[end + 1] === "\n" ? 2 : 1;
        const text = rest.slice(0, end);
        rest = rest.slice(end + width);
        line(text);
      }
    };
  }

  const live = { run: null, last: "", failures: 0, abort: null, wake: null };

  function showLink(state, words) {
    const element = byId("live");
    element.dataset.state = state;
    put(element, words);
    byId("retry").hidden = state !== "offline";
  }

  async function readStream(response, abort) {
    let pending = null;
    const parse = eventParser(
      (kind, data) => {
        if (pending !== null) live.last = pending; // an event whose end never came is asked for again
        onEvent(kind, data);
      },
      (id) => { pending = id; },
    );
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    let quiet = 0;
    const watch = () => {
      clearTimeout(quiet);
      quiet = setTimeout(() => abort.abort(), QUIET_MS);
    };
    try {
      for (watch(); ; watch()) {
        const { done, value } = await reader.read();
        if (done) return;
        live.failures = 0;
        parse(decoder.decode(value, { stream: true }));
      }
    } finally {
      clearTimeout(quiet);
    }
  }

  async function connect() {
    const abort = (live.abort = new AbortController()), sent = key;
    const more = { Accept: "text/event-stream", ...(live.last ? { "Last-Event-ID": live.last } : {}) };
    const response = await fetch("v1/events", { headers: headers(more), signal: abort.signal, cache: "no-store" });
    if (response.status === 401) return sent === key ? demandKey() : undefined;
    if (!response.ok) throw await problemOf(response);
    showLink("live", "Live");
    if (byId("wrong").textContent === AWAY) say("");
    refresh.now(); // what happened before this stream began
    return readStream(response, abort);
  }

  /** Stay connected: after a loss wait 0.5 s, and twice as long each time up to 10 s, less a random part. */
  async function stayLive() {
    if (live.run) return;
    const run = (live.run = {}); // a loop that was ended and has not noticed yet must not go on beside a new one
    while (live.run === run) {
      try {
        await connect();
      } catch { /* told below, as a state and not as an error: it mends itself */ }
      if (live.run !== run) break;
      const wait = Math.min(10000, 500 * 2 ** live.failures) * (0.6 + 0.4 * Math.random());
      live.failures = Math.min(live.failures + 1, 10);
      if (live.failures > 4 || !navigator.onLine) showLink("offline", "Offline: what you see may be old");
      else showLink("reconnecting", "Reconnecting\u2026");
      await new Promise((resolve) => {
        live.wake = resolve;
        setTimeout(resolve, wait);
      });
    }
  }

  function stopLive() {
    live.run = null;
    live.failures = 0;
    if (live.abort) live.abort.abort();
    if (live.wake) live.wake();
  }

  function onEvent(kind, text) {
    let data;
    try {
      data = JSON.parse(text);
    } catch {
      return; // one broken event must not end the stream
    }
    if (data === null || typeof data !== "object") return;
    const row = rows.get(data.conversation);
    if (kind === "turn" && open && open.id === data.conversation) open.gone = false; // it may begin anew under its id
    if (kind === "turn" && row) touch(row, data);
    if (kind === "alarm") announce(data);
    if (kind === "alarm" && row) {
      row.data = { ...row.data, alarmed: true };
      fillRow(row);
    }
    if (kind === "forgotten") {
      dropRow(data.conversation);
      if (open && open.id === data.conversation) gone("This conversation has been forgotten.");
    }
    if (!open || open.id === data.conversation) refresh.soon();
  }

  function announce(data) {
    const line = h("a", { href: `#/c/${encodeURIComponent(data.conversation)}` }, h("bdi", {}, short(data.conversation)));
    const what = ` alarmed in turn ${from1(data.turn)}: ${plain(data.detector)} is at ${two(data.statistic)}, past ${two(data.threshold)}.`;
    const close = h("button", { type: "button", class: "quiet", onclick: () => byId("news").replaceChildren() }, "Close");
    byId("news").dataset.of = String(data.conversation);
    byId("news").replaceChildren(h("span", {}, "\u25B2 ", line, what), close);
  }

  /** Reload what is shown: soon after the first event of a burst, then at a distance. */
  const refresh = (() => {
    let timer = 0, last = 0, running = false, again = "";
    async function now() {
      clearTimeout(timer);
      timer = 0;
      if (running) {
        again = "now";
        return;
      }
      running = true;
      try {
        await reload();
      } catch (e) {
        complainQuietly(e);
      } finally {
        running = false;
        last = Date.now();
        const next = again;
        again = "";
        if (next === "now") void now();
        else if (next) soon();
      }
    }
    function soon() {
      if (running) again ||= "soon";
      else if (!timer) timer = setTimeout(now, Math.max(NEAR_MS, last + NEXT_MS - Date.now()));
    }
    return { now, soon };
  })();

  async function reload() {
    if (byId("main").dataset.view === "key") return;
    await Promise.all([loadStatus(), open ? loadConversation(open) : loadFleet()]);
  }

  // -- the key -------------------------------------------------------------------------------------------------------------

  function demandKey() {
    const had = key !== null;
    key = null;
    sessionStorage.removeItem(KEY);
    stopLive();
    wipe();
    view("key");
    showLink("wait", "Waiting for a key");
    say("");
    put(byId("key-wrong"), had ? "That key is not one of this service\u2019s." : "");
    byId("key-field").value = "";
    byId("key-field").focus();
  }

  /** Nothing of one key's conversations may stay for the next. */
  function wipe() {
    rows.clear();
    fleet.pages = 1;
    live.last = "";
    fleet.seen = false;
    byId("rows").replaceChildren();
    byId("first").replaceChildren();
    byId("news").replaceChildren();
    byId("facts").replaceChildren();
    byId("conversation").replaceChildren();
    byId("leave").hidden = true;
    put(byId("promise"), "");
    open = null;
    status = null;
  }

  byId("key-form").addEventListener("submit", (e) => {
    e.preventDefault();
    const given = byId("key-field").value.trim();
    byId("key-field").value = "";
    put(byId("key-wrong"), "");
    if (!/^[\x21-\x7e]+$/.test(given)) { // no header can carry it, so it is none of the service's
      put(byId("key-wrong"), "That key is not one of this service\u2019s.");
      return;
    }
    key = given;
    start();
  });
  byId("leave").addEventListener("click", () => {
    key = null;
    demandKey();
  });

  // -- the service's own state ---------------------------------------------------------------------------------------------

  let status = null;

  const MODES = {
    off: "off: nothing is measured or held",
    shadow: "shadow: measures, and holds nothing",
    on: "on: measures and holds",
  };
  const holdWords = (hold) => (hold === "none" ? "no hold" : plain(hold));

  async function loadStatus() {
    const got = await get("status");
    if (byId("main").dataset.view === "key") return;
    status = got;
    put(byId("model"), plain(got.model));
    byId("about").hidden = false;
    put(byId("promise"), got.promise ? sentence(plain(got.promise)) : "No identity of this model is loaded, so nothing is read and no alarm is promised.");
    fact("mode", "Mode", MODES[got.mode] ?? plain(got.mode));
    fact("hold", "Hold", holdWords(got.hold));
    fact("load", "Load", `${got.running ?? 0} of ${got.slots ?? 0} running, ${got.waiting ?? 0} waiting`);
    fact("count", "Conversations", String(got.conversations ?? 0));
    fact("alarms", "Open alarms", String(got.alarms_open ?? 0), got.alarms_open > 0);
    title();
  }

  const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

  function fact(id, name, value, loud = false) {
    let dd = byId(`fact-${id}`);
    if (!dd) {
      dd = h("dd", { id: `fact-${id}` });
      byId("facts").append(h("div", {}, h("dt", {}, name), dd));
    }
    put(dd, value);
    dd.classList.toggle("loud", loud);
  }

  function title() {
    const alarms = status && status.alarms_open > 0 ? `\u25B2${status.alarms_open} ` : "";
    const where = open ? `${short(open.id)} \u00B7 ` : "";
    document.title = `${alarms}${where}${status ? `${plain(status.model)} \u00B7 ` : ""}homing`;
  }

  // -- the fleet -----------------------------------------------------------------------------------------------------------

  const rows = new Map();
  const fleet = { pages: 1, more: false, filter: "all", order: "position", down: false, pointer: 0, seen: false };
  const COLUMNS = [
    ["id", "Conversation"], ["position", "Position"], ["drift", "Drift"], ["turns", "Turns"],
    ["alarmed", "State"], ["hold", "Hold"], ["updated", "Last turn"],
  ];
  const ORDERS = [
    ["position", false, "farthest from home first"], ["position", true, "nearest home first"], ["drift", false, "largest drift first"],
    ["alarmed", true, "alarmed first"], ["updated", true, "latest first"], ["turns", true, "most turns first"], ["id", false, "by id"],
    ["hold", false, "by hold"],
  ];
  const FILTERS = [
    ["all", "All", () => true, ""],
    ["alarmed", "Alarmed", (c) => c.alarmed, "No conversation is alarmed."],
    ["returning", "Returning", (c) => c.returning, "No conversation is on its way back."],
  ];
  const STARTS_DOWN = new Set(["turns", "alarmed", "updated"]);

  async function loadFleet() {
    const found = [];
    let more = true;
    for (let page = 0; page < fleet.pages && more; page += 1) {
      const before = found.length ? `&before=${encodeURIComponent(found[found.length - 1].id)}` : "";
      const got = await get(`conversations?limit=${PAGE}${before}`);
      found.push(...got.data);
      more = Boolean(got.has_more) && got.data.length > 0;
    }
    if (byId("main").dataset.view === "key") return;
    fleet.more = more;
    const there = new Set(found.map((c) => c.id));
    for (const id of [...rows.keys()]) if (!there.has(id)) dropRow(id);
    for (const c of found) upsert(c);
    fleet.seen = true;
    arrange();
  }

  function upsert(data) {
    const row = rows.get(data.id) ?? makeRow(data.id);
    if (row.data && data.turns > row.data.turns) flash(row);
    row.data = data;
    fillRow(row);
  }

  /** A turn as its event tells it, at once; the reload that follows brings the rest. */
  function touch(row, data) {
    const turns = from1(data.turn);
    if (!(turns >= row.data.turns)) return; // told late, or again
    if (turns > row.data.turns) flash(row);
    const told = { position: data.position, drift: data.drift, returning: data.returning, alarmed: data.alarmed };
    for (const name of Object.keys(told)) if (told[name] === undefined) delete told[name];
    row.data = { ...row.data, ...told, turns, updated: Date.now() / 1000 };
    fillRow(row);
    arrange();
  }

  function flash(row) {
    row.tr.classList.remove("fresh");
    requestAnimationFrame(() => row.tr.classList.add("fresh"));
  }

  function dropRow(id) {
    const row = rows.get(id);
    if (!row) return;
    rows.delete(id);
    if (row.tr.contains(document.activeElement)) byId("fleet-h").focus();
    row.tr.remove();
    arrange();
  }

  function makeRow(id) {
    const cells = {
      link: h("a", { href: `#/c/${encodeURIComponent(id)}`, title: plain(id) }, h("bdi", {}, short(id))),
      position: h("b", { class: "num" }),
      scale: scale(),
      drift: h("td", { role: "cell", class: "num right", "data-label": "drift" }),
      turns: h("td", { role: "cell", class: "num right", "data-label": "turns" }),
      alarm: h("span", { class: "tag alarm" }),
      back: h("span", { class: "tag way" }),
      name: h("span"),
      of: h("span", { class: "of" }),
      hold: h("td", { role: "cell", class: "wide", "data-label": "hold" }),
      updated: h("time"),
    };
    const tr = h(
      "tr", { role: "row" },
      h("th", { scope: "row", role: "rowheader", class: "wide" }, cells.link),
      h("td", { role: "cell", class: "wide" }, h("span", { class: "where" }, cells.position, cells.scale.svg)),
      cells.drift, cells.turns,
      h("td", { role: "cell", class: "wide" }, cells.alarm, cells.back), cells.hold,
      h("td", { role: "cell", class: "wide mute num" }, cells.updated),
    );
    cells.hold.append(cells.name, cells.of);
    const row = { id, tr, cells, data: null };
    rows.set(id, row);
    return row;
  }

  function fillRow(row) {
    const { data, cells } = row;
    put(cells.position, two(data.position));
    cells.scale.set(data.position);
    put(cells.drift, signed(data.drift));
    put(cells.turns, String(data.turns));
    put(cells.alarm, alarmWords(data));
    cells.alarm.classList.toggle("alarm", Boolean(data.alarmed));
    cells.alarm.classList.toggle("mute", !data.alarmed);
    put(cells.back, data.returning ? "\u21A9\uFE0E returning" : "");
    cells.back.hidden = !data.returning;
    cells.alarm.hidden = !cells.alarm.textContent;
    const own = data.hold !== null && data.hold !== undefined;
    put(cells.name, own ? holdWords(data.hold) : status ? holdWords(status.hold) : "as set");
    put(cells.of, own ? "" : " (service)");
    cells.hold.classList.toggle("mute", !own);
    setTime(cells.updated, data.updated);
  }

  function alarmWords(data) {
    if (data.alarmed) return data.alarms > 1 ? `\u25B2 alarmed (${data.alarms} alarms)` : "\u25B2 alarmed";
    return data.alarms > 0 ? many(data.alarms, "earlier alarm") : "";
  }

  let band = null; // of the fleet: the service's, or the last one that a conversation told

  /** A position as a mark on a line from the mean role to home; the number stands beside it, so it is hidden from readers. */
  function scale() {
    const at = (v) => 66 + (Math.min(1.3, Math.max(-0.3, v)) - 0.5) * 76;
    const shade = s("rect", { class: "band", y: 2, height: 14, width: 0 });
    const mark = s("circle", { class: "mark", cy: 9, r: 5 });
    const svg = s(
      "svg", { class: "scale", viewBox: "0 0 132 18", "aria-hidden": "true" },
      shade, s("path", { class: "rule", d: `M${at(-0.3)} 9H${at(1.3)}M${at(0)} 5v8M${at(1)} 5v8` }), mark,
    );
    function set(position) {
      const range = status?.band ?? band;
      if (range) {
        shade.setAttribute("x", String(at(range.low)));
        shade.setAttribute("width", String(Math.max(0, at(range.high) - at(range.low))));
      }
      mark.setAttribute("visibility", number(position) ? "visible" : "hidden");
      if (number(position)) mark.setAttribute("cx", String(at(position)));
      setSide(svg, position, range);
    }
    return { svg, set };
  }
  const far = (position, range) => Boolean(range) && number(position) && position < range.low;
  const side = (position, range) => (range && number(position) ? (position < range.low ? "far" : "near") : "");

  function setSide(element, position, range) {
    element.classList.remove("far", "near");
    if (side(position, range)) element.classList.add(side(position, range));
  }

  function compareRows(a, b) {
    const rank = (c) => {
      if (fleet.order === "alarmed") return (c.alarmed ? 1e6 : 0) + (c.returning ? 1e5 : 0) + c.alarms;
      return c[fleet.order] ?? (fleet.order === "hold" ? "\uffff" : null);
    };
    const x = rank(a.data), y = rank(b.data);
    if (x === null || y === null) return (x === null) - (y === null) || (a.id < b.id ? -1 : 1);
    const way = (x > y) - (x < y);
    return (fleet.down ? -way : way) || (a.id < b.id ? -1 : 1);
  }

  /** Put rows in order, moving the others around the one that has the focus, and not under a pointer that is on its way. */
  function arrange(force = false) {
    clearTimeout(fleet.later);
    const [, , keep, nothing] = FILTERS.find((f) => f[0] === fleet.filter);
    const wanted = [...rows.values()].filter((r) => keep(r.data)).sort(compareRows).map((r) => r.tr);
    const body = byId("rows");
    const shown = [...body.children];
    const same = shown.length === wanted.length && shown.every((tr, i) => tr === wanted[i]);
    const resting = Date.now() - fleet.pointer > 3000;
    const moves = shown.length === wanted.length && shown.every((tr) => wanted.includes(tr));
    if (!same && moves && !resting && !force) fleet.later = setTimeout(arrange, 3000);
    else if (!same) rearrange(body, shown, wanted);
    showFleetParts(wanted.length, nothing);
  }

  function rearrange(body, shown, wanted) {
    const held = wanted.find((tr) => tr.contains(document.activeElement));
    for (const tr of shown) {
      if (wanted.includes(tr)) continue;
      if (tr.contains(document.activeElement)) byId("fleet-h").focus();
      tr.remove();
    }
    if (!held || !held.isConnected) return body.append(...wanted);
    const at = wanted.indexOf(held);
    held.before(...wanted.slice(0, at));
    return body.append(...wanted.slice(at + 1));
  }

  function showFleetParts(count, nothing) {
    const any = rows.size > 0;
    byId("tools").hidden = !any;
    byId("table").hidden = count === 0;
    byId("scale-note").hidden = !any;
    byId("none").hidden = !any || count > 0;
    put(byId("none"), nothing && fleet.more ? `${nothing.slice(0, -1)} among the ${rows.size} latest.` : nothing);
    byId("more").hidden = !fleet.more;
    for (const [name, words, keep] of FILTERS) {
      const n = [...rows.values()].filter((r) => keep(r.data)).length;
      put(byId(`filter-${name}`), `${words} ${n}${name === "all" && fleet.more ? "+" : ""}`);
    }
    const first = byId("first");
    first.hidden = any || !fleet.seen;
    if (!first.hidden && !first.childElementCount) first.append(...firstRequest());
    title();
  }

  /** What to do where there is nothing yet. */
  function firstRequest() {
    const base = new URL("../v1", location.href.split("#")[0]).href;
    const model = status ? plain(status.model) : "MODEL";
    const body = JSON.stringify({ model, messages: [{ role: "user", content: "Hello" }] }).replaceAll("'", "'\\''");
    const sent = key === null ? "" : ' \\\n  -H "Authorization: Bearer $KEY"';
    return [
      h("p", {}, "No conversation has come by yet. Point any OpenAI client at this base URL, and it appears here:"),
      h("pre", {}, h("code", { id: "base" }, base)),
      h("p", {}, "A first request from a shell:"),
      h("pre", {}, h("code", {}, `curl ${base}/chat/completions${sent} \\\n  -H "Content-Type: application/json" \\\n  -d '${body}'`)),
    ];
  }

  function setOrder(order, down) {
    fleet.order = order;
    fleet.down = down;
    for (const th of byId("columns").children) {
      if (th.dataset.order === order) th.setAttribute("aria-sort", down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    }
    byId("order").value = `${order} ${down}`;
    arrange(true);
  }

  function buildFleet() {
    for (const [order, words] of COLUMNS) {
      const click = () => setOrder(order, fleet.order === order ? !fleet.down : STARTS_DOWN.has(order));
      const right = order === "drift" || order === "turns" ? "right" : null;
      byId("columns").append(
        h("th", { scope: "col", role: "columnheader", "data-order": order, class: right }, h("button", { type: "button", onclick: click }, words)),
      );
    }
    for (const [order, down, words] of ORDERS) byId("order").append(h("option", { value: `${order} ${down}` }, words));
    byId("order").addEventListener("change", (e) => {
      const [order, down] = e.target.value.split(" ");
      setOrder(order, down === "true");
    });
    for (const [name, words] of FILTERS) {
      const click = () => {
        fleet.filter = name;
        for (const b of byId("filters").children) b.setAttribute("aria-pressed", String(b.id === `filter-${name}`));
        arrange(true);
      };
      const pressed = String(name === fleet.filter);
      byId("filters").append(h("button", { type: "button", id: `filter-${name}`, "aria-pressed": pressed, onclick: click }, words));
    }
    byId("rows").addEventListener("pointermove", () => { fleet.pointer = Date.now(); });
    byId("rows").addEventListener("pointerleave", () => { fleet.pointer = 0; arrange(); });
    byId("more").addEventListener("click", () => { fleet.pages += 1; refresh.now(); });
    setOrder("position", false);
  }

  // -- one conversation ----------------------------------------------------------------------------------------------------

  let open = null;
  let holds = [];

  function openConversation(id) {
    const parts = buildConversation(id);
    open = { id, parts, data: null, turns: new Map(), traces: new Map(), plain: false };
    byId("conversation").replaceChildren(...parts.all);
    byId("conversation").classList.remove("plain");
    parts.body.hidden = true;
    return open;
  }

  function buildConversation(id) {
    const p = {};
    p.heading = h("h2", { id: "conversation-h", tabindex: "-1", title: plain(id) }, h("bdi", {}, plain(id)));
    p.wait = h("p", { class: "absent" }, "Loading\u2026");
    p.now = h("dl", { class: "now" });
    p.select = h("select", { id: "hold" });
    p.set = h("button", { type: "button", onclick: () => setHold() }, "Set hold");
    p.back = h("button", { type: "button", onclick: () => bringBack() }, "Bring back");
    p.forget = h("button", { type: "button", class: "danger", onclick: () => forget() }, "Forget\u2026");
    const controls = h(
      "div", { class: "controls", role: "group", "aria-label": "Controls of this conversation" },
      h("span", { class: "row" }, h("label", { for: "hold" }, "Hold"), p.select, p.set), p.back, h("span", { class: "end" }, p.forget),
    );
    p.chart = h("figure");
    p.unread = h("p", { class: "absent", hidden: true }, "No position was read in this conversation.");
    p.alarms = h("ul", { class: "alarms" });
    p.alarmsNone = h("p", { class: "absent" }, "No alarm in this conversation.");
    p.facets = h("div");
    p.heat = h("div", { class: "heat-tools" }, heatSwitch(), swatches());
    p.noText = h("p", { class: "absent", hidden: true }, "The text of this conversation is not kept, only where each token stood. Start the service so that it keeps text to read replies here.");
    p.latest = h("button", { type: "button", class: "quiet", onclick: () => jump(Math.max(...open.turns.keys())) }, "Go to the latest");
    p.turns = h("div");
    p.body = h(
      "div", {}, p.now, controls,
      h("div", { class: "columns" },
        h("div", { class: "side" },
          h("section", {}, h("h3", {}, "Position by turn"), p.chart, p.unread),
          h("section", {}, h("h3", {}, "Alarms"), p.alarms, p.alarmsNone),
          h("section", {}, h("h3", {}, "Distance from home, by facet"), p.facets)),
        h("div", { class: "talk" }, h("div", { class: "head" }, h("h3", {}, "Turns"), p.latest), p.heat, p.noText, p.turns)),
    );
    p.all = [h("a", { class: "back", href: "#/" }, "\u2190 All conversations"), p.heading, p.wait, p.body];
    return p;
  }

  async function loadConversation(mine) {
    if (mine.gone) return undefined;
    let data;
    try {
      data = await get(place(mine.id));
    } catch (e) {
      if (e.status === 404 && open === mine) return gone(e.message);
      if (!mine.data && open === mine && e.status !== 401) put(mine.parts.wait, e.message);
      throw e;
    }
    const missing = (data.list ?? []).some((t) => !mine.traces.has(t.index));
    const [trace, kinds] = await Promise.all([
      missing ? get(place(mine.id, "/trace")) : null, holds.length ? null : get("holds"),
    ]);
    if (open !== mine || mine.gone) return undefined; // an answer from before it was forgotten
    if (kinds) holds = kinds.data;
    for (const t of trace ? trace.turns : []) mine.traces.set(t.index, t);
    mine.data = data;
    band = data.band ?? band;
    return showConversation(mine);
  }

  /** The conversation is no longer there. */
  function gone(words) {
    const p = open.parts;
    open.data = null;
    open.gone = true;
    p.body.hidden = true;
    p.wait.hidden = false;
    put(p.wait, sentence(plain(words)));
    if (p.body.contains(document.activeElement)) p.heading.focus();
  }

  function showConversation(mine) {
    const { data, parts: p } = mine;
    const turns = data.list ?? [];
    p.wait.hidden = true;
    p.body.hidden = false;
    showNow(p.now, data);
    showHolds(mine);
    put(p.back, data.returning ? "Bring back again" : "Bring back");
    showAlarms(mine);
    showFacets(mine);
    p.noText.hidden = !turns.length || turns.some((t) => t.messages);
    p.heat.hidden = !turns.some((t) => t.position !== null);
    for (const t of turns) showTurn(mine, t);
    const there = new Set(turns.map((t) => t.index));
    for (const [index, turn] of mine.turns) {
      if (there.has(index)) continue;
      turn.element.remove();
      mine.turns.delete(index);
    }
    p.latest.hidden = turns.length < 3;
    drawChart(mine);
    title();
  }

  function showNow(list, data) {
    const facts = [
      ["Position", two(data.position), "1 is home, 0 the mean role"], ["Drift", signed(data.drift)], ["Turns", String(data.turns)],
      ["State", [alarmWords(data) || "no alarm", data.returning ? "\u21A9\uFE0E returning" : ""].filter(Boolean).join(", ")],
      ["Model", plain(data.model)],
    ].filter(([name]) => name !== "Model" || !status || status.model !== data.model); // the heading has it
    facts.push(["Last turn", null]);
    while (list.children.length > facts.length) list.lastChild.remove();
    facts.forEach(([name, value, hint], i) => {
      const group = list.children[i] ?? h("div", {}, h("dt"), h("dd", { title: hint }));
      if (!group.isConnected) list.append(group);
      put(group.firstChild, name);
      if (value !== null) return put(group.lastChild, value);
      if (!group.querySelector("time")) group.lastChild.replaceChildren(h("time"));
      return setTime(group.querySelector("time"), data.updated);
    });
  }

  function showHolds(mine) {
    const { data, parts: p } = mine;
    const given = data.hold ?? "";
    const names = ["none", ...holds.map((k) => k.id).filter((k) => k !== "none")];
    if (given && !names.includes(given)) names.push(given);
    const service = status ? `as the service says (${holdWords(status.hold)})` : "as the service says";
    const wanted = [service, ...names].join("\n");
    const chosen = p.select.dataset.given === undefined || p.select.value === p.select.dataset.given ? given : p.select.value;
    if (p.select.dataset.names !== wanted) {
      const kinds = new Map(holds.map((k) => [k.id, k]));
      p.select.replaceChildren(
        h("option", { value: "" }, service),
        ...names.map((n) => h("option", { value: n }, holdWords(n) + (kinds.get(n)?.buffers ? " (waits for the whole reply)" : ""))),
      );
      p.select.dataset.names = wanted;
    }
    p.select.dataset.given = given;
    p.select.value = chosen; // a choice that was not set yet stays
  }

  /** Take in what a control changed, then the rest. */
  function changed(mine, data) {
    if (data && data.id === mine.id) {
      mine.data = { ...mine.data, ...data };
      if (open === mine) showConversation(mine);
    }
    refresh.soon();
  }

  function setHold() {
    const mine = open, p = mine.parts, hold = p.select.value || null;
    return act(p.set, "Setting the hold\u2026", async () => {
      const data = await ask("POST", place(mine.id, "/hold"), { hold });
      p.select.dataset.given = p.select.value = data.hold ?? "";
      changed(mine, data);
      if (data.hold === null) return "From the next turn on the service\u2019s own hold is in force.";
      return data.hold === "none" ? "From the next turn on no hold is in force." : `From the next turn on the hold is ${plain(data.hold)}.`;
    });
  }

  function bringBack() {
    const mine = open;
    return act(mine.parts.back, "Asking for the way back\u2026", async () => {
      const data = await ask("POST", place(mine.id, "/return"), {});
      changed(mine, data);
      return data.returning ? "The way back begins with the next turn, until two turns in a row are home." : "The conversation is home; there is no way back to go.";
    });
  }

  async function forget() {
    const mine = open;
    const sure = await confirmed("Forget this conversation?", `Its ${many(mine.data?.turns ?? 0, "turn")}, readings and alarms are deleted, and whatever text is kept. This cannot be undone.`);
    if (!sure) return;
    await act(mine.parts.forget, "Forgetting\u2026", async () => {
      await ask("DELETE", place(mine.id));
      dropRow(mine.id);
      if (open === mine) {
        keepWords = true;
        location.hash = "#/";
      }
      return `${short(mine.id)} is forgotten.`;
    });
  }

  function confirmed(heading, text) {
    const dialog = byId("ask");
    put(byId("ask-h"), heading);
    put(byId("ask-text"), text);
    dialog.returnValue = "";
    dialog.showModal();
    byId("ask-no").focus();
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    });
  }
  byId("ask-no").addEventListener("click", () => byId("ask").close("no"));
  byId("ask-yes").addEventListener("click", () => byId("ask").close("yes"));

  // Alarms, and what people say of them.

  function showAlarms(mine) {
    const { alarms, alarmsNone } = mine.parts;
    const list = mine.data.alarms_list ?? [];
    alarmsNone.hidden = list.length > 0;
    const known = new Map([...alarms.children].map((li) => [li.dataset.id, li]));
    for (const a of list) {
      const li = known.get(String(a.id)) ?? alarmItem(mine, a);
      known.delete(String(a.id));
      if (!li.isConnected) alarms.append(li);
      li.firstChild.classList.toggle("off", Boolean(a.false_alarm));
      li.querySelector("button.flag").setAttribute("aria-pressed", String(Boolean(a.false_alarm)));
    }
    for (const li of known.values()) li.remove();
  }

  function alarmItem(mine, a) {
    const words = `Turn ${from1(a.turn)}: ${plain(a.detector)} at ${two(a.statistic)}, past ${two(a.threshold)}`;
    const button = h("button", { type: "button", class: "flag", "aria-label": `Mark as false alarm: turn ${from1(a.turn)}, ${plain(a.detector)}` }, "False alarm");
    button.addEventListener("click", () => act(button, "Marking the alarm\u2026", async () => {
      const wanted = button.getAttribute("aria-pressed") !== "true";
      const got = await ask("POST", `alarms/${encodeURIComponent(a.id)}`, { false_alarm: wanted });
      const mineNow = mine.data.alarms_list.map((x) => (x.id === a.id ? { ...x, false_alarm: got.false_alarm } : x));
      changed(mine, { ...mine.data, alarms_list: mineNow });
      return got.false_alarm ? "Marked as a false alarm." : "No longer marked as a false alarm.";
    }));
    return h("li", { "data-id": a.id }, h("span", { class: "num" }, words), button);
  }

  // Facets of the home battery.

  function showFacets(mine) {
    const list = mine.data.facets;
    const sign = JSON.stringify(list ?? null);
    if (mine.parts.facets.dataset.sign === sign) return;
    mine.parts.facets.dataset.sign = sign;
    if (!list || !list.length) {
      const why = status && status.facets === false ? "Not measured: this service does not run the home battery." : "Not measured in this conversation yet.";
      mine.parts.facets.replaceChildren(h("p", { class: "absent" }, why));
      return;
    }
    const top = Math.max(0.01, ...list.flatMap((f) => [f.distance, f.high]).filter(number));
    // roles are said, since a phone lays the table out as blocks, and some browsers then take it for none
    const head = (words) => h("th", { scope: "col", role: "columnheader" }, words || h("span", { class: "sr" }, "Bar"));
    const cell = (more, content) => h("td", { role: "cell", ...more }, content);
    const row = (f) => h(
      "tr", { role: "row" }, h("th", { scope: "row", role: "rowheader" }, plain(f.facet)), cell({}, facetBar(f, top)),
      cell({ class: "num" }, two(f.distance)),
      cell({ class: "num mute" }, number(f.low) && number(f.high) ? `${two(f.low)} to ${two(f.high)}` : "no interval"),
      cell({ class: "num", "data-label": "items" }, String(f.n ?? "\u2013")),
    );
    mine.parts.facets.replaceChildren(h(
      "table", { class: "facets", role: "table" },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...["Facet", "", "Distance", "Interval", "Items"].map(head))),
      h("tbody", { role: "rowgroup" }, ...list.map(row)),
    ));
  }

  function facetBar(f, top) {
    const x = (v) => 2 + (Math.max(0, v) / top) * 112;
    const bar = number(f.distance) ? s("rect", { class: "bar-of", x: 2, y: 4, height: 10, width: x(f.distance) - 2, rx: 1.5 }) : null;
    const whisker = number(f.low) && number(f.high) ? s("path", { class: "whisker", d: `M${x(f.low)} 9H${x(f.high)}M${x(f.low)} 6v6M${x(f.high)} 6v6` }) : null;
    return s("svg", { viewBox: "0 0 120 18", "aria-hidden": "true" }, s("path", { class: "grid", d: "M2 1v16" }), bar, whisker);
  }

  // Turns.

  function showTurn(mine, t) {
    const alarms = (mine.data.alarms_list ?? []).filter((a) => a.turn === t.index);
    const sign = JSON.stringify([t, alarms.map((a) => [a.id, a.false_alarm]), mine.data.band, mine.traces.has(t.index)]);
    const known = mine.turns.get(t.index);
    if (known && known.sign === sign) return;
    const turn = known ?? { element: h("article", { class: "turn", id: `turn-${t.index}`, tabindex: "-1" }), compared: h("div") };
    turn.sign = sign;
    mine.turns.set(t.index, turn);
    const button = turn.button ?? h("button", { type: "button", "aria-label": `Compare turn ${from1(t.index)} with and without its hold`, onclick: () => compare(mine, t, turn) }, "Compare with and without hold");
    turn.button = button;
    const had = document.activeElement === button;
    turn.element.replaceChildren(
      h("div", { class: "top" }, h("h4", {}, `Turn ${from1(t.index)}`), ...turnFacts(t)),
      ...messages(mine, t), ...turnDid(t, alarms), button, turn.compared,
    );
    if (had) button.focus();
    if (!known) mine.parts.turns.append(turn.element);
  }

  function turnFacts(t) {
    const facts = [
      number(t.position) ? `position ${two(t.position)}` : "not read",
      number(t.drift) ? `drift ${signed(t.drift)}` : "",
      many(t.tokens ?? 0, "token"),
      number(t.seconds) ? `${two(t.seconds)} s${t.added_seconds > 0.005 ? ` (${two(t.added_seconds)} s of them added)` : ""}` : "",
      t.hold && t.hold !== "none" ? `hold ${plain(t.hold)}` : "no hold",
      t.mode && t.mode !== "on" ? `mode ${plain(t.mode)}` : "",
      t.finish && t.finish !== "stop" ? `ended by ${plain(t.finish)}` : "",
    ].filter(Boolean).map((f) => h("span", {}, f));
    const time = h("time");
    if (number(t.created)) {
      setTime(time, t.created);
      facts.push(h("span", {}, time));
    }
    return facts;
  }

  function turnDid(t, alarms) {
    const lines = alarms.map((a) => h("li", { class: "alarm" }, `\u25B2 Alarm: ${plain(a.detector)} at ${two(a.statistic)}, past ${two(a.threshold)}${a.false_alarm ? ", marked as false" : ""}`));
    if (t.capped > 0) lines.push(h("li", { class: "hold" }, `The cap moved ${t.capped} of ${many(t.tokens, "token")}.`));
    for (const d of t.interventions ?? []) lines.push(h("li", { class: "hold" }, interventionWords(d)));
    return lines.length ? [h("ul", { class: "did" }, ...lines)] : [];
  }

  function interventionWords(d) {
    const amount = number(d.amount) && d.amount !== 0 ? ` (by ${two(d.amount)})` : "";
    return `${plain(d.hold)}: ${d.note ? plain(d.note) : "acted"}${amount}`;
  }

  function messages(mine, t) {
    const trace = mine.traces.get(t.index);
    if (!t.messages) {
      if (!trace || !trace.tokens.length) return [h("p", { class: "absent" }, "No text is kept of this turn.")];
      return [strip(t, trace)];
    }
    const last = t.messages.length - 1;
    return t.messages.flatMap((m, i) => {
      const role = plain(m.role), known = ["user", "assistant", "system"].includes(role) ? role : "other";
      const reply = i === last && role === "assistant";
      const off = reply ? ` ${side(t.position, mine.data.band)}` : "";
      const cut = reply && trace && trace.pieces && trace.pieces.length === trace.tokens.length && trace.pieces.join("").trim() === spoken(m.content).trim();
      const text = cut ? heat(t, trace) : h("p", { class: "text", dir: "auto" }, spoken(m.content) || h("span", { class: "mute" }, "(nothing)"));
      const cells = reply && trace && trace.tokens.length && !cut ? strip(t, trace) : null;
      return [h("div", { class: `message ${known}${off}` }, h("span", { class: "role" }, role), text, cells)];
    });
  }

  async function compare(mine, t, turn) {
    await act(turn.button, `Making turn ${from1(t.index)} again, with and without its hold\u2026`, async () => {
      const got = await ask("POST", place(mine.id, "/compare"), { turn: t.index });
      const half = (name, one) => h(
        "div", {}, h("h5", {}, `${name} `, h("span", {}, number(one?.position) ? `position ${two(one.position)}` : "not read")),
        h("p", { class: "text", dir: "auto" }, spoken(one?.text) || "(nothing)"),
      );
      turn.compared.replaceChildren(h("div", { class: "compared", role: "group", "aria-label": `Turn ${from1(t.index)}, held and not held` }, half("Held", got.held), half("Not held", got.unheld)));
      turn.compared.scrollIntoView({ block: "nearest" });
      return `Turn ${from1(t.index)}: held at ${two(got.held?.position)}, not held at ${two(got.unheld?.position)}.`;
    });
  }

  // Token heat: the further from home, the warmer.

  const STEPS = [[1, "t0"], [0.8, "t1"], [0.6, "t2"], [0.4, "t3"], [0.2, "t4"], [0, "t5"], [-Infinity, "t6"]];
  const warmth = (v) => (number(v) ? STEPS.find(([least]) => v >= least)[1] : "tn");
  const tokenTip = (t, v, i, piece) => `${piece === undefined ? "" : `\u201C${plain(piece)}\u201D\n`}token ${i + 1} of ${t.tokens || i + 1}\n${number(v) ? `position ${two(v)}` : "not read"}`;

  /** A reply or strip whose tokens can be walked with the arrows; one stop for the Tab key. */
  function walkable(element, t, what) {
    fill(element, { tabindex: "0", role: "group", "aria-label": `${what} of turn ${from1(t.index)}, ${many(t.tokens ?? 0, "token")}; arrow keys walk its tokens and say their positions` }, []);
    element.dataset.walk = "";
    return element;
  }

  function heat(t, trace) {
    const spans = trace.tokens.map((v, i) => {
      const span = h("span", { class: `tok ${warmth(v)}` }, trace.pieces[i]);
      span.dataset.tip = tokenTip(t, v, i, trace.pieces[i]);
      return span;
    });
    return walkable(h("p", { class: "text heat", dir: "auto" }, ...spans), t, "Reply");
  }

  function strip(t, trace) {
    const cells = trace.tokens.map((v, i) => {
      const cell = h("i", { class: `tok ${warmth(v)}` });
      cell.dataset.tip = tokenTip(t, v, i);
      return cell;
    });
    return walkable(h("div", { class: "strip" }, ...cells), t, "Tokens");
  }

  function heatSwitch() {
    const box = h("input", { type: "checkbox", id: "heat", checked: true });
    box.addEventListener("change", () => byId("conversation").classList.toggle("plain", !box.checked));
    return h("label", { for: "heat" }, box, "Colour tokens by position");
  }

  function swatches() {
    return h(
      "span", { class: "swatches", role: "img", "aria-label": "Uncoloured at home, position 1.00 and above; the warmest below 0.00" },
      "home 1.00", h("span", {}, ...["t0", "t1", "t2", "t3", "t4", "t5", "t6"].map((c) => h("i", { class: c }))), "below 0.00",
    );
  }

  // The curve.

  function drawChart(mine) {
    const figure = mine.parts.chart;
    let svg = figure.querySelector("svg.chart");
    if (!svg) {
      svg = s("svg", { class: "chart", tabindex: "0", role: "group" });
      svg.dataset.walk = "";
      figure.append(svg, h("figcaption", {}, h("ul", { class: "legend" })));
      new ResizeObserver(() => { if (open && open.parts.chart === figure && open.data) drawChart(open); }).observe(figure);
    }
    const read = (mine.data.list ?? []).some((t) => number(t.position));
    figure.hidden = !read;
    mine.parts.unread.hidden = read;
    const width = Math.round(figure.clientWidth);
    const sign = JSON.stringify([width, mine.data.list, mine.data.band, mine.data.alarms_list, mine.data.returning, mine.data.ways]);
    if (!width || figure.dataset.sign === sign) return;
    figure.dataset.sign = sign;
    const turns = mine.data.list ?? [];
    const plot = plotOf(turns, mine.data.band, width);
    svg.setAttribute("viewBox", `0 0 ${width} ${plot.height}`);
    svg.setAttribute("height", String(plot.height));
    svg.setAttribute("aria-label", chartWords(turns, mine.data));
    svg.replaceChildren(...backdrop(plot, mine.data.band), ...held(plot, turns), ...wayBack(plot, mine.data), ...curve(plot, turns, mine.data), ...hits(plot, turns));
    figure.querySelector(".legend").replaceChildren(...legend(turns, mine.data));
  }

  function plotOf(turns, range, width) {
    const values = turns.map((t) => t.position).filter(number);
    const low = Math.min(0, range?.low ?? 0, ...values) - 0.08, high = Math.max(1, range?.high ?? 1, ...values) + 0.12;
    const left = 66, right = width - 10, top = 14, bottom = 196, driftTop = 222, driftBottom = 284;
    const first = turns.length ? turns[0].index : 0, last = turns.length ? turns[turns.length - 1].index : 0;
    const step = (right - left) / (last - first + 1);
    const most = Math.max(0.2, ...turns.map((t) => Math.abs(t.drift ?? 0)));
    return {
      width, height: 312, left, right, top, bottom, driftTop, driftBottom, step, first, last, most, low, high,
      x: (index) => left + (index - first + 0.5) * step,
      y: (v) => bottom - ((v - low) / (high - low)) * (bottom - top),
      d: (v) => (driftTop + driftBottom) / 2 - (v / most) * (driftBottom - driftTop) / 2,
    };
  }

  function backdrop(p, range) {
    const out = [];
    if (range) out.push(s("rect", { class: "band", x: p.left, width: p.right - p.left, y: p.y(range.high), height: Math.max(1, p.y(range.low) - p.y(range.high)) }));
    for (const v of [0, 0.5, 1]) {
      out.push(s("path", { class: v === 0.5 ? "grid" : "zero", d: `M${p.left} ${p.y(v)}H${p.right}` }));
      out.push(s("text", { class: "tick", x: p.left - 6, y: p.y(v) + 4, "text-anchor": "end" }, v.toFixed(2)));
    }
    const beside = (y, words) => s("text", { class: "axis", x: p.left - 6, y, "text-anchor": "end" }, words);
    out.push(beside(p.y(0) + 17, "mean role"), beside(p.y(1) + 17, "home"), beside(p.driftTop + 4, "drift"));
    out.push(s("path", { class: "zero", d: `M${p.left} ${p.d(0)}H${p.right}` }));
    out.push(s("text", { class: "tick", x: p.left - 6, y: p.d(0) + 4, "text-anchor": "end" }, "0.00"));
    out.push(s("text", { class: "tick", x: p.left - 6, y: p.driftBottom + 4, "text-anchor": "end" }, two(-p.most)));
    const every = Math.max(1, Math.ceil(28 / p.step));
    for (let i = p.first; i <= p.last; i += 1) {
      if ((i - p.first) % every) continue;
      out.push(s("text", { class: "tick", x: p.x(i), y: p.driftBottom + 16, "text-anchor": "middle" }, String(from1(i))));
    }
    out.push(s("text", { class: "axis", x: p.right, y: p.driftBottom + 28, "text-anchor": "end" }, "turn"));
    return out;
  }

  const acted = (t) => t.capped > 0 || (t.interventions ?? []).length > 0;

  function held(p, turns) {
    return turns.filter(acted).map((t) => s("rect", { class: "act", x: p.x(t.index) - p.step / 2, width: p.step, y: p.top - 10, height: p.driftBottom - p.top + 10 }));
  }

  /** Ways back as the service tells them; where it tells none, the one that goes on is taken to begin after the last alarm. */
  function waysOf(data) {
    if (Array.isArray(data.ways)) return data.ways;
    const alarms = data.alarms_list ?? [];
    if (!data.returning || !alarms.length) return [];
    return [{ since: Math.max(...alarms.map((a) => a.turn)) + 1, until: null }];
  }

  function wayBack(p, data) {
    return waysOf(data).flatMap((w) => {
      const from = Math.max(p.first, Math.min(w.since, p.last)), to = w.until ?? p.last;
      return [s("path", { class: "way", d: `M${p.x(from) - p.step / 2 + 2} ${p.top - 8}H${p.x(Math.min(to, p.last)) + p.step / 2 - 2}` })];
    });
  }

  function curve(p, turns, data) {
    const out = [];
    for (const t of turns) {
      if (!number(t.drift)) continue;
      const y = p.d(t.drift), zero = p.d(0), w = Math.max(2, Math.min(14, p.step * 0.5));
      out.push(s("rect", { class: "drift", x: p.x(t.index) - w / 2, width: w, y: Math.min(y, zero), height: Math.max(1, Math.abs(y - zero)) }));
    }
    const alarmed = new Set((data.alarms_list ?? []).filter((a) => !a.false_alarm).map((a) => a.turn));
    for (const i of alarmed) if (i >= p.first && i <= p.last) out.push(s("path", { class: "stem", d: `M${p.x(i)} ${p.top + 6}V${p.bottom}` }));
    let d = "", pen = "M";
    for (const t of turns) {
      if (number(t.position)) d += `${pen}${p.x(t.index)} ${p.y(t.position)}`;
      pen = number(t.position) ? "L" : "M";
    }
    if (d) out.push(s("path", { class: "line", d }));
    const r = p.step < 7 ? 2 : 4.5;
    for (const t of turns) if (number(t.position)) out.push(s("circle", { class: `dot ${side(t.position, data.band)}`, cx: p.x(t.index), cy: p.y(t.position), r }));
    for (const i of alarmed) if (i >= p.first && i <= p.last) out.push(s("path", { class: "alarm", d: `M${p.x(i)} ${p.top - 4}l6 10h-12z` }));
    return out;
  }

  function hits(p, turns) {
    return turns.map((t) => {
      const hit = s("rect", { class: "hit", x: p.x(t.index) - p.step / 2, width: p.step, y: p.top - 12, height: p.driftBottom - p.top + 12, onclick: () => jump(t.index) });
      const where = number(t.position) ? `position ${two(t.position)}` : "not read";
      hit.dataset.tip = [`Turn ${from1(t.index)}`, where, number(t.drift) ? `drift ${signed(t.drift)}` : "", acted(t) ? `hold ${plain(t.hold)} acted` : ""].filter(Boolean).join("\n");
      hit.dataset.jump = String(t.index);
      return hit;
    });
  }

  function jump(index) {
    const turn = open && open.turns.get(index);
    if (!turn) return;
    turn.element.scrollIntoView({ block: "start" });
    turn.element.focus({ preventScroll: true });
  }

  function chartWords(turns, data) {
    const read = turns.filter((t) => number(t.position));
    if (!read.length) return "Position by turn: nothing was read.";
    const alarms = (data.alarms_list ?? []).length;
    return `Position by turn: from ${two(read[0].position)} in turn ${from1(read[0].index)} to ${two(read[read.length - 1].position)} in turn ${from1(read[read.length - 1].index)}, ${many(alarms, "alarm")}. Arrow keys walk the turns, Enter goes to one.`;
  }

  function legend(turns, data) {
    const sample = (shape, words) => h("li", {}, s("svg", { viewBox: "0 0 16 12", "aria-hidden": "true" }, shape), words);
    const out = [];
    if (data.band) out.push(sample(s("rect", { class: "band", width: 16, height: 12 }), `home band ${two(data.band.low)} to ${two(data.band.high)}`));
    if (turns.some((t) => far(t.position, data.band))) out.push(sample(s("circle", { class: "dot far", cx: 8, cy: 6, r: 4.5 }), "below it"));
    if ((data.alarms_list ?? []).length) out.push(sample(s("path", { class: "alarm", d: "M8 1l6 10h-12z" }), "alarm"));
    if (turns.some(acted)) out.push(sample(s("rect", { class: "act", width: 16, height: 12 }), "a hold acted"));
    if (waysOf(data).length) out.push(sample(s("path", { class: "way", d: "M2 6h12" }), "way back"));
    return out;
  }

  // -- tips, by pointer and by arrows ----------------------------------------------------------------------------------------

  const tip = { element: byId("tip"), at: null };

  function showTip(element) {
    hideTip();
    tip.at = element;
    element.classList.add("at");
    put(tip.element, element.dataset.tip);
    tip.element.hidden = false;
    const r = element.getClientRects()[0] ?? element.getBoundingClientRect();
    const t = tip.element.getBoundingClientRect();
    const width = document.documentElement.clientWidth;
    const tall = r.height > 120; // a whole column of the chart: beside its head, not above it
    const x = Math.min(Math.max(8, r.left + r.width / 2 - t.width / 2), width - t.width - 8);
    const y = r.top - t.height - 8 < 4 ? (tall ? r.top + 8 : r.bottom + 8) : r.top - t.height - 8;
    tip.element.style.setProperty("left", `${Math.round(x)}px`);
    tip.element.style.setProperty("top", `${Math.round(y)}px`);
  }

  function hideTip() {
    if (tip.at) tip.at.classList.remove("at");
    tip.at = null;
    tip.element.hidden = true;
  }

  function walk(e) {
    const element = e.target instanceof Element ? e.target.closest("[data-walk]") : null;
    if (!element || element !== e.target) return false;
    if (e.key === "Enter" && tip.at && tip.at.dataset.jump !== undefined) {
      jump(Number(tip.at.dataset.jump));
      hideTip();
      return true;
    }
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (!step) return false;
    const points = [...element.querySelectorAll("[data-tip]")];
    if (!points.length) return false;
    const before = points.indexOf(tip.at);
    const at = before < 0 ? (step > 0 ? 0 : points.length - 1) : (before + step + points.length) % points.length;
    points[at].scrollIntoView({ block: "nearest" });
    showTip(points[at]);
    return true;
  }

  document.addEventListener("pointerover", (e) => {
    const element = e.target instanceof Element ? e.target.closest("[data-tip]") : null;
    if (element) showTip(element);
    else if (tip.at) hideTip();
  });
  document.addEventListener("focusout", (e) => {
    if (e.target instanceof Element && e.target.matches("[data-walk]")) hideTip();
  });
  document.addEventListener("keydown", (e) => {
    if (walk(e)) e.preventDefault();
    else if (e.key === "Escape" && !byId("ask").open) {
      if (tip.at) hideTip();
      else if (open && !(e.target instanceof HTMLSelectElement)) location.hash = "#/";
    }
  });

  // -- where we are ----------------------------------------------------------------------------------------------------------

  function view(name) {
    byId("main").dataset.view = name;
    document.body.dataset.view = name;
    for (const id of ["key", "fleet", "conversation"]) byId(id).hidden = id !== name;
    byId("leave").hidden = key === null;
  }

  function idOf(hash) {
    const found = /^#\/c\/(.+)$/.exec(hash);
    if (!found) return null;
    try {
      return decodeURIComponent(found[1]);
    } catch {
      return null;
    }
  }

  /** Show what the address says, and put the focus where a reader begins. */
  function route(focus) {
    const id = idOf(location.hash);
    const left = open ? open.id : null;
    hideTip();
    if (id !== null) {
      openConversation(id);
      view("conversation");
      if (byId("news").dataset.of === id) byId("news").replaceChildren(); // it was followed
      window.scrollTo(0, 0);
      if (focus) open.parts.heading.focus({ preventScroll: true });
    } else {
      open = null;
      view("fleet");
      byId("conversation").replaceChildren();
      arrange(true);
      const row = left === null ? null : rows.get(left);
      if (focus) (row && row.tr.isConnected ? row.cells.link : byId("fleet-h")).focus();
    }
    title();
  }

  async function start() {
    try {
      await loadStatus();
    } catch (e) {
      if (e.status === 401) return;
      complain(e);
    }
    if (key !== null) sessionStorage.setItem(KEY, key);
    route(byId("main").dataset.view === "key");
    refresh.now();
    void stayLive();
  }

  window.addEventListener("hashchange", () => {
    if (byId("main").dataset.view === "key" || !/^#(\/|$)/.test(location.hash || "#")) return;
    if (!keepWords) say("");
    keepWords = false;
    route(true);
    refresh.now();
  });
  byId("skip").addEventListener("click", (e) => { // the address belongs to the views
    e.preventDefault();
    byId("main").focus();
  });
  byId("hush").addEventListener("click", () => say(""));
  byId("retry").addEventListener("click", () => { if (live.wake) live.wake(); });
  window.addEventListener("online", () => { if (live.wake) live.wake(); });
  setInterval(() => {
    for (const time of document.querySelectorAll("time[data-at]")) put(time, ago(Number(time.dataset.at)));
  }, 15000);
  setInterval(() => {
    if (!document.hidden && live.run && byId("live").dataset.state === "live") loadStatus().catch(complainQuietly);
  }, STATUS_MS);

  buildFleet();
  showLink("wait", "Connecting\u2026");
  void start();
})();
