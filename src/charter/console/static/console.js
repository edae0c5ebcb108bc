// What htmx does not do: pausing the live page, keeping it short, saying when the connection is lost; and showing where
// one is in a menu that is wider than the screen. Every form and link works without this file.
(function () {
  "use strict";
  var here = document.querySelector(".top nav [aria-current]");
  if (here) here.scrollIntoView({ block: "nearest", inline: "center" });
})();

(function () {
  "use strict";
  var MAX_ROWS = 500;
  var pause = document.getElementById("pause");
  var pulse = document.getElementById("pulse");
  if (!pause || !pulse) return;
  var paused = false;

  function show(word, state) {
    pulse.textContent = word;
    pulse.className = "pulse " + state;
  }

  pause.parentElement.hidden = false;
  pause.addEventListener("click", function () {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Resume" : "Pause";
    show(paused ? "paused" : "live", paused ? "paused" : "");
  });

  document.body.addEventListener("htmx:beforeRequest", function (event) {
    if (event.target.id === "poller" && (paused || document.hidden)) event.preventDefault();
  });
  document.body.addEventListener("htmx:afterRequest", function (event) {
    if (event.detail.target && event.detail.target.id === "poller" && !paused) {
      show(event.detail.successful ? "live" : "connection lost, trying again", event.detail.successful ? "" : "lost");
    }
  });
  document.body.addEventListener("htmx:oobAfterSwap", function () {
    var rows = document.getElementById("rows");
    while (rows.children.length > MAX_ROWS) rows.lastElementChild.remove();
    var none = document.getElementById("none");
    if (none && rows.children.length) none.remove();
  });
})();
