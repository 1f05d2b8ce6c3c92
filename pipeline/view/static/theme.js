// Runs before the page is drawn, so that it never shows in the wrong colours first.
(() => {
  "use strict";
  const root = document.documentElement;
  root.classList.add("has-script");
  let theme = null;
  try {
    theme = localStorage.getItem("theme");
  } catch {
    // Storage is off: the system's choice holds.
  }
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
})();
