"use strict";
// What the report adds for readers whose browser runs scripts; without them everything can still be read.
// No library, no request: the page's policy allows this text alone.
(function () {
  const root = document.documentElement;
  const themes = ["system", "light", "dark"];

  function remembered() {
    try {
      return themes.includes(localStorage.getItem("bakeoff-theme")) ? localStorage.getItem("bakeoff-theme") : "system";
    } catch (error) {
      return "system"; // storage is refused to some local files
    }
  }

  function setTheme(name) {
    if (name === "system") root.removeAttribute("data-theme");
    else root.setAttribute("data-theme", name);
    try {
      localStorage.setItem("bakeoff-theme", name);
    } catch (error) {
      // The choice holds until the page is closed.
    }
  }

  function themeSwitch(button) {
    let chosen = remembered();
    button.textContent = "Theme: " + chosen;
    button.addEventListener("click", function () {
      chosen = themes[(themes.indexOf(chosen) + 1) % themes.length];
      setTheme(chosen);
      button.textContent = "Theme: " + chosen;
    });
  }

  // A button that opens and closes everything of one kind.
  function openSwitch(button, selector, what) {
    let open = false;
    button.hidden = !document.querySelector(selector);
    button.addEventListener("click", function () {
      open = !open;
      for (const each of document.querySelectorAll(selector)) each.open = open;
      button.textContent = (open ? "Close all " : "Open all ") + what;
    });
  }

  // A link to a variant opens its chapter; what was closed is printed too.
  function openTarget() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const chapter = target && target.closest("details.variant");
    if (!chapter || chapter.open) return;
    chapter.open = true;
    target.scrollIntoView();
  }

  function printOpen() {
    let closed = [];
    addEventListener("beforeprint", function () {
      closed = Array.from(document.querySelectorAll("details.variant:not([open])"));
      for (const chapter of closed) chapter.open = true;
    });
    addEventListener("afterprint", function () {
      for (const chapter of closed) chapter.open = false;
    });
  }

  // Beside the text the contents stand open; above it, on a narrow page, they are closed.
  function foldContents(contents) {
    const narrow = matchMedia("(max-width: 60rem)");
    const fold = function () { contents.open = !narrow.matches; };
    narrow.addEventListener("change", fold);
    fold();
    contents.addEventListener("click", function (event) {
      if (narrow.matches && event.target.closest("a")) contents.open = false;
    });
  }

  // "12.5 %", "1 234", "-3.1 (-4.0 to -2.2)" and durations become numbers; other text stays text.
  const seconds = { ms: 0.001, s: 1, min: 60, h: 3600 };

  function value(row, column) {
    const text = row.cells[column].textContent.trim();
    const found = /^([+\-\u2212]?\d[\d\s]*(?:\.\d+)?)\s*(ms|s|min|h)?(?![\w.])/.exec(text);
    if (!found) return { text: text, number: NaN };
    const number = Number(found[1].replace(/\s/g, "").replace("\u2212", "-"));
    return { text: text, number: number * (seconds[found[2]] || 1) };
  }

  function compare(first, second) {
    const both = !Number.isNaN(first.number) && !Number.isNaN(second.number);
    return both ? first.number - second.number : first.text.localeCompare(second.text, "en", { numeric: true });
  }

  function sortBy(table, column, direction) {
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, function (row) { return { row: row, value: value(row, column) }; });
    rows.sort(function (first, second) {
      const blank = (first.value.text === "") - (second.value.text === "");
      return blank || direction * compare(first.value, second.value);
    });
    for (const entry of rows) body.append(entry.row);
  }

  function sortable(table) {
    const heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach(function (head, column) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", function () {
        const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
        sortBy(table, column, direction);
      });
    });
  }

  function filterable(table) {
    const field = document.getElementById("ranking-filter");
    const count = document.getElementById("ranking-count");
    const rows = Array.from(table.tBodies[0].rows);
    const apply = function () {
      const wanted = field.value.trim().toLowerCase();
      for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
      count.textContent = rows.filter(function (row) { return !row.hidden; }).length + " of " + rows.length + " shown";
    };
    field.addEventListener("input", apply);
    apply();
    field.closest("p").hidden = false;
  }

  if (remembered() !== "system") setTheme(remembered()); // before anything is drawn
  document.addEventListener("DOMContentLoaded", function () {
    document.querySelector("nav .tools").hidden = false;
    themeSwitch(document.getElementById("theme"));
    openSwitch(document.getElementById("open-code"), "details.code", "code");
    openSwitch(document.getElementById("open-variants"), "details.variant", "variants");
    printOpen();
    addEventListener("hashchange", openTarget);
    // The same link again changes no address, and may follow a chapter that was closed.
    document.addEventListener("click", function (event) {
      if (event.target.closest('a[href^="#"]')) setTimeout(openTarget);
    });
    openTarget();
    foldContents(document.querySelector("nav .contents"));
    const table = document.querySelector("#ranking table");
    if (table && table.tHead && table.tBodies.length) {
      sortable(table);
      filterable(table);
    }
  });
})();
