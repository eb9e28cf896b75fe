// Before anything is painted: the theme that was chosen here, else what the system says. A classic script, for a module
// would run after the first paint. Storage may be forbidden; then the choice lasts as long as the page.
"use strict";
(() => {
  const THEMES = ["system", "light", "dark"];
  let theme = "system";
  try { theme = localStorage.getItem("tailtune-theme") ?? theme; } catch { /* as above */ }
  const apply = () => {
    if (THEMES.includes(theme) && theme !== "system") document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  };
  apply();
  document.addEventListener("DOMContentLoaded", () => {
    const choice = document.getElementById("theme");
    choice.value = THEMES.includes(theme) ? theme : "system";
    choice.addEventListener("change", () => {
      theme = choice.value;
      try { localStorage.setItem("tailtune-theme", theme); } catch { /* as above */ }
      apply();
    });
  });
})();
