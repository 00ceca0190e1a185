// Keys for those who like them: A, B, E and C choose, Enter sends. Everything works without.
"use strict";
document.documentElement.classList.add("keys");
const form = document.getElementById("vote");
let sent = false;
form.addEventListener("submit", (event) => {
  if (sent) event.preventDefault();
  sent = true;
});
// A page that the browser kept, shown again by its back button, may be sent again: the server counts it once.
window.addEventListener("pageshow", () => { sent = false; });
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const at = event.target;
  if (at.matches("textarea, input[type=text]")) return;
  if (event.key === "Enter") {
    if (!at.matches("button, a, summary")) form.requestSubmit();
    return;
  }
  const choice = form.querySelector(`input[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
  if (choice) {
    choice.checked = true;
    choice.focus();
  }
});
