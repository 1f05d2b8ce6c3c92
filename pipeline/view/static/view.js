// What reading does not need: times in the reader's zone, live refresh, keys, copying, long-running searches, zoomable plots.
(() => {
  "use strict";

  const root = document.documentElement;
  const main = () => document.getElementById("main");
  const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));
  const say = (sentence) => {
    const place = document.getElementById("said");
    if (place) place.textContent = sentence;
  };
  const remembered = {
    get(name) {
      try {
        return localStorage.getItem(name);
      } catch {
        return null;
      }
    },
    set(name, value) {
      try {
        localStorage.setItem(name, value);
      } catch {
        // Storage is off: the choice holds for this page.
      }
    },
  };

  // --- Colours ---------------------------------------------------------------------------------------------------------

  const THEMES = ["auto", "light", "dark"];

  function showTheme() {
    const theme = root.dataset.theme || "auto";
    for (const choice of all("[data-theme-choice]")) choice.value = theme;
  }

  function chooseTheme(theme) {
    if (!THEMES.includes(theme)) return;
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
    remembered.set("theme", theme);
    drawPlots();
  }

  // --- Times -----------------------------------------------------------------------------------------------------------

  const ZONES = ["local", "utc", "ago"];
  const two = (number) => String(number).padStart(2, "0");

  function zone() {
    const asked = new URLSearchParams(location.search).get("tz");
    if (ZONES.includes(asked)) return asked;
    const kept = remembered.get("tz");
    return ZONES.includes(kept) ? kept : "local";
  }

  function offset(moment) {
    const minutes = -moment.getTimezoneOffset();
    if (minutes === 0) return "UTC";
    const size = Math.abs(minutes);
    return (minutes < 0 ? "\u2212" : "+") + two(Math.floor(size / 60)) + ":" + two(size % 60);
  }

  function dayOf(moment) {
    return moment.getFullYear() + "-" + two(moment.getMonth() + 1) + "-" + two(moment.getDate());
  }

  function clockOf(moment) {
    return two(moment.getHours()) + ":" + two(moment.getMinutes()) + ":" + two(moment.getSeconds());
  }

  function ago(moment) {
    const seconds = Math.round((Date.now() - moment.getTime()) / 1000);
    const size = Math.abs(seconds);
    const steps = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
    const [length, unit] = steps.find(([length]) => size >= length) || [1, "s"];
    const text = Math.floor(size / length) + "\u00a0" + unit;
    return seconds < 0 ? "in " + text : text + " ago";
  }

  function showTimes(within = document) {
    const how = zone();
    for (const choice of all("[data-zone-choice]")) choice.value = how;
    for (const place of all("time[data-moment]", within)) {
      const moment = new Date(place.dateTime);
      if (Number.isNaN(moment.getTime())) continue;
      place.dataset.utc ||= place.textContent;
      const utc = place.dataset.utc;
      if (how === "utc" || (how === "local" && offset(moment) === "UTC")) {
        place.textContent = utc;
        place.title = "";
        continue;
      }
      const local = dayOf(moment) + " " + clockOf(moment) + " " + offset(moment);
      place.title = how === "ago" ? local + "\n" + utc : local;
      if (how === "ago") {
        place.textContent = ago(moment);
        continue;
      }
      const beside = document.createElement("span");
      beside.className = "utc";
      // The day is said again only where it is another one.
      beside.textContent = utc.startsWith(dayOf(moment)) ? utc.slice(11) : utc.slice(5);
      place.replaceChildren(dayOf(moment) + " " + clockOf(moment) + " ", beside);
    }
    for (const label of all("text[data-at]", within)) {
      label.dataset.utc ||= label.textContent;
      const moment = new Date(Number(label.dataset.at) * 1000);
      if (how === "utc" || Number.isNaN(moment.getTime())) label.textContent = label.dataset.utc;
      else {
        const clock = clockOf(moment).slice(0, 5);
        label.textContent = label.dataset.utc.includes("-") ? dayOf(moment).slice(5) + " " + clock : clock;
      }
    }
  }

  // --- Live refresh ----------------------------------------------------------------------------------------------------

  const live = { isPaused: false, timer: 0, isAsking: false };

  function everySeconds() {
    const asked = Number(new URLSearchParams(location.search).get("refresh"));
    return Number.isFinite(asked) && asked > 0 ? Math.min(Math.max(asked, 2), 3600) : 0;
  }

  function isBusy() {
    const here = document.activeElement;
    const isTyping = here?.matches("main :is(input, textarea)") && here.value !== here.defaultValue;
    const isChoosing = here?.matches("main select");
    return Boolean(isTyping || isChoosing || document.querySelector("dialog[open], [popover]:popover-open"));
  }

  const address = () => location.pathname + location.search;

  const mayRefresh = () => !live.isPaused && !document.hidden && !isBusy();

  async function refresh(isByTimer = false) {
    if (live.isAsking || !main()) return;
    live.isAsking = true;
    try {
      const refreshed = { address: address(), isByTimer };
      await htmx.ajax("GET", refreshed.address, { target: "#main", select: "#main", swap: "outerMorph", refreshed });
    } finally {
      live.isAsking = false;
    }
  }

  function tick() {
    if (mayRefresh()) refresh(true);
  }

  function showLive() {
    const every = everySeconds();
    clearInterval(live.timer);
    live.timer = every ? setInterval(tick, every * 1000) : 0;
    for (const button of all("[data-live-pause]")) {
      button.setAttribute("aria-pressed", String(live.isPaused));
      button.textContent = live.isPaused ? "Go on" : "Pause";
    }
    for (const place of all("[data-live-state]")) {
      place.textContent = live.isPaused ? "Paused" : "Every " + every + " s";
      place.classList.toggle("is-paused", live.isPaused);
    }
  }

  function pause() {
    if (!everySeconds()) return;
    live.isPaused = !live.isPaused;
    showLive();
    say(live.isPaused ? "Live refresh is paused." : "Live refresh goes on.");
    if (!live.isPaused) tick();
  }

  // --- Rows by keyboard ------------------------------------------------------------------------------------------------

  const rows = () => all("main tbody tr[data-row]");

  function step(by) {
    const listed = rows();
    if (!listed.length) return;
    const at = listed.indexOf(document.activeElement?.closest("tr[data-row]"));
    const next = listed[at < 0 ? (by > 0 ? 0 : listed.length - 1) : Math.min(Math.max(at + by, 0), listed.length - 1)];
    next.tabIndex = -1;
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }

  function open(row) {
    (row.querySelector("a[data-opens]") || row.querySelector("a[href]"))?.click();
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.target;
    if (target.matches?.("input, textarea, select, [contenteditable]")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (document.querySelector("dialog[open], [popover]:popover-open")) return;
    switch (event.key) {
      case "/": {
        const search = document.querySelector('main input[type="search"]');
        if (!search) return;
        search.focus();
        search.select();
        break;
      }
      case "j":
        step(1);
        break;
      case "k":
        step(-1);
        break;
      case "r":
        refresh();
        break;
      case "p":
        pause();
        break;
      case "?":
        document.getElementById("keys")?.showModal();
        break;
      case "Enter":
        if (!target.matches?.("tr[data-row]")) return;
        open(target);
        break;
      default:
        return;
    }
    event.preventDefault();
  }

  // --- Filter form -----------------------------------------------------------------------------------------------------

  // The three fields of a new condition become the one parameter that the URL holds; the server does the same without this.
  function onFilter(event) {
    const data = event.formData;
    const [column, operator, value] = ["_column", "_operator", "_value"].map((name) => data.get(name));
    for (const name of ["_column", "_operator", "_value"]) data.delete(name);
    if (column && (value || operator === "blank")) {
      data.append(operator === "exact" ? column : column + "__" + operator, operator === "blank" ? value || "1" : value);
    }
    for (const name of new Set(data.keys())) {
      const kept = data.getAll(name).filter((each) => each !== "");
      data.delete(name);
      for (const each of kept) data.append(name, each);
    }
  }

  // --- Copying ---------------------------------------------------------------------------------------------------------

  async function copy(button) {
    const source = button.dataset.copy || document.getElementById(button.dataset.copyFrom)?.textContent || "";
    try {
      await navigator.clipboard.writeText(source);
      button.classList.add("is-done");
      setTimeout(() => button.classList.remove("is-done"), 1500);
      say("Copied.");
    } catch {
      say("The browser does not allow copying here; select the text instead.");
    }
  }

  // --- Searches that take a while --------------------------------------------------------------------------------------

  // <section data-stream="URL">: events "rows" (HTML, put at the end of [data-stream-rows]), "progress" (a sentence, or
  // {"text", "share"}) and "end" (a sentence).
  function startStream(section) {
    if (section.dataset.streaming) return;
    section.dataset.streaming = "on";
    const source = new EventSource(section.dataset.stream);
    const state = section.querySelector("[data-stream-state]");
    const bar = section.querySelector("progress");
    const stop = section.querySelector("[data-stream-stop]");
    const target = section.querySelector("[data-stream-rows]");
    const end = (sentence) => {
      source.close();
      section.dataset.streaming = "ended";
      if (stop) stop.hidden = true;
      if (bar) bar.hidden = true;
      if (state && sentence) state.textContent = sentence;
      if (sentence) say(sentence);
    };
    source.addEventListener("rows", (event) => {
      const part = document.createElement("template");
      part.innerHTML = event.data;
      const added = part.content;
      target?.append(added);
      if (target) showTimes(target);
    });
    source.addEventListener("progress", (event) => {
      let told = { text: event.data };
      try {
        const read = JSON.parse(event.data);
        if (read && typeof read === "object") told = read;
      } catch {
        // It is a sentence.
      }
      if (state && told.text) state.textContent = told.text;
      if (bar && Number.isFinite(told.share)) bar.value = told.share;
    });
    source.addEventListener("end", (event) => end(event.data || "Finished."));
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) end("The search ended: the worker no longer answers. Search again.");
    });
    stop?.addEventListener("click", () => end("Stopped. What was found until then is shown."));
    addEventListener("pagehide", () => source.close(), { once: true });
  }

  // --- Plots over time -------------------------------------------------------------------------------------------------

  let plotting = null;

  function loadPlotting() {
    plotting ||= new Promise((done, failed) => {
      const style = document.createElement("link");
      style.rel = "stylesheet";
      style.href = document.body.dataset.uplotStyle;
      const script = document.createElement("script");
      script.src = document.body.dataset.uplot;
      script.addEventListener("load", done);
      script.addEventListener("error", failed);
      document.head.append(style, script);
    });
    return plotting;
  }

  const WORDS = {
    number: (value) => value.toLocaleString("en-GB", { maximumFractionDigits: 2 }),
    bytes: (value) => {
      const units = ["B", "KiB", "MiB", "GiB", "TiB"];
      const power = value > 0 ? Math.min(Math.floor(Math.log2(value) / 10), units.length - 1) : 0;
      return (value / 1024 ** power).toFixed(power ? 1 : 0) + " " + units[power];
    },
    seconds: (value) => {
      if (value < 1) return Math.round(value * 1000) + " ms";
      if (value < 120) return +value.toFixed(1) + " s";
      return value < 7200 ? Math.round(value / 60) + " min" : +(value / 3600).toFixed(1) + " h";
    },
  };

  // A canvas takes no light-dark(): an element works out which of the two holds.
  function ofRoot(name) {
    const probe = document.createElement("span");
    probe.style.color = "var(" + name + ")";
    document.body.append(probe);
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
  }

  async function drawPlot(place) {
    const wanted = place.dataset;
    const answer = await fetch(wanted.plot, { headers: { Accept: "application/json" }, credentials: "same-origin" });
    if (!answer.ok) return;
    const section = (await answer.json()).sections?.[wanted.section];
    if (!section?.rows?.length || !place.isConnected) return;
    const names = wanted.y.split(" ");
    const tones = (wanted.tones || "").split(" ");
    const titles = Object.fromEntries(section.columns.map((column) => [column.name, column.title]));
    const ordered = section.rows.filter((row) => row[wanted.x] !== null).sort((a, b) => a[wanted.x] - b[wanted.x]);
    const figures = [wanted.x, ...names].map((name) => ordered.map((row) => row[name]));
    const words = WORDS[wanted.kind] || WORDS.number;
    const axis = { stroke: ofRoot("--ink-soft"), grid: { stroke: ofRoot("--line"), width: 1 }, ticks: { show: false } };
    const inUtc = zone() === "utc";
    const look = [wanted.plot, wanted.section, wanted.y, wanted.tones, inUtc, ofRoot("--ink-soft")].join();
    if (place.uplot && place.dataset.drawn === look) {
      place.uplot.setData(figures, !place.isZoomed);
      return;
    }
    place.uplot?.destroy();
    place.isZoomed = false;
    place.querySelector(".uplot-frame")?.remove();
    const frame = document.createElement("div");
    frame.className = "uplot-frame";
    place.append(frame);
    place.uplot = new uPlot(
      {
        width: Math.max(place.clientWidth, 200),
        height: 220,
        tzDate: inUtc ? (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC") : undefined,
        cursor: { drag: { x: true, y: false }, sync: { key: "time" } },
        hooks: { setSelect: [() => (place.isZoomed = true)] },
        series: [
          { label: inUtc ? "Time (UTC)" : "Time" },
          ...names.map((name, index) => ({
            label: titles[name] || name,
            stroke: ofRoot("--tone-" + (tones[index] || "info")),
            width: 1.5,
            dash: [[], [6, 3], [2, 3], [8, 3, 2, 3]][index % 4],
            spanGaps: false,
            value: (_, value) => (value === null || value === undefined ? "unknown" : words(value)),
          })),
        ],
        axes: [axis, { ...axis, size: 64, values: (_, splits) => splits.map(words) }],
      },
      figures,
      frame,
    );
    frame.addEventListener("dblclick", () => (place.isZoomed = false));
    place.dataset.drawn = look;
  }

  async function drawPlots() {
    const places = all("[data-plot]");
    if (!places.length) return;
    try {
      await loadPlotting();
      await Promise.all(places.map(drawPlot));
    } catch {
      // The picture that the server drew stays.
    }
  }

  addEventListener("resize", () => {
    for (const place of all("[data-plot][data-drawn]")) place.uplot?.setSize({ width: Math.max(place.clientWidth, 200), height: 220 });
  });

  // --- Putting it to work ----------------------------------------------------------------------------------------------

  function arrive(within = document) {
    showTimes(within);
    showLive();
    drawPlots();
    for (const section of all("[data-stream]", within)) startStream(section);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy], [data-copy-from]");
    if (button) copy(button);
    if (event.target.closest("[data-live-pause]")) pause();
    if (event.target.closest("[data-keys]")) document.getElementById("keys")?.showModal();
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-theme-choice]")) chooseTheme(event.target.value);
    if (event.target.matches("[data-zone-choice]")) {
      remembered.set("tz", event.target.value);
      const url = new URL(location.href);
      if (url.searchParams.has("tz")) {
        url.searchParams.delete("tz");
        history.replaceState(history.state, "", url);
      }
      showTimes();
      drawPlots();
    }
  });
  document.addEventListener("formdata", (event) => {
    if (event.target.matches("[data-filter]")) onFilter(event);
  });
  document.addEventListener("keydown", onKey);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && everySeconds()) tick();
  });
  document.addEventListener("htmx:before:swap", (event) => {
    // Since the page asked, its reader may have paused it, begun to type, or sorted it otherwise: it stays as it is.
    const refreshed = event.detail.ctx.refreshed;
    if (!refreshed) return;
    const isWanted = refreshed.address === address() && (mayRefresh() || !refreshed.isByTimer);
    if (!isWanted) event.preventDefault();
  });
  document.addEventListener("htmx:after:swap", () => arrive());
  document.addEventListener("htmx:error", () => {
    const sentence = "No answer at " + clockOf(new Date()) + "; what you see is older.";
    for (const place of all("[data-live-state]")) place.textContent = sentence;
    say(sentence);
  });
  document.addEventListener("DOMContentLoaded", () => {
    document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
    showTheme();
    arrive();
    // An answer to a form stands at the form's address: loaded again, it would have the form sent again.
    const own = document.querySelector("[data-own-address]")?.dataset.ownAddress;
    if (own) history.replaceState(history.state, "", own);
  });
})();
