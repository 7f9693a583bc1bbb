// Applied before the first paint, so that a page does not flash in the other theme.
"use strict";
try {
    const theme = localStorage.getItem("meridian-theme");
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch { /* without storage the system decides */ }
