// Known names are added to their field with a click; a mistake goes when its field changes; what came of trying is brought
// into sight.
(() => {
  "use strict";

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-adds]");
    const field = button && document.getElementById(button.dataset.addsTo);
    if (!field) return;
    const names = field.value.split(/[\n,]/).map((name) => name.trim()).filter(Boolean);
    const kept = names.filter((name) => name !== button.dataset.adds);
    if (kept.length === names.length) kept.push(button.dataset.adds);
    field.value = kept.join("\n");
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });

  // What was wrong with a field no longer holds once it says something else.
  document.addEventListener("input", (event) => {
    const field = event.target.closest?.(".is-wrong");
    if (!field) return;
    field.classList.remove("is-wrong");
    for (const mark of field.querySelectorAll(".problem")) mark.remove();
    for (const input of field.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  });

  new MutationObserver((changes) => {
    for (const change of changes) {
      for (const node of change.addedNodes) {
        if (node.id === "outcome") node.scrollIntoView({ block: "nearest" });
      }
    }
  }).observe(document.body, { childList: true, subtree: true });
})();
