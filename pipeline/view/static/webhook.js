// The form of a webhook: a click on a field of the sample fills the input that was chosen last, or the next empty one; rows
// are added and removed in place; a sample that was pasted is read at once. Without this the buttons do the same by sending.
(() => {
  "use strict";

  const rows = () => document.getElementById("attribute-rows");
  const takers = () => Array.from(document.querySelectorAll("[data-takes-path]"));
  const say = (sentence) => {
    const place = document.getElementById("said");
    if (place) place.textContent = sentence;
  };
  let chosen = null;

  function choose(field) {
    chosen = field;
    for (const each of takers()) each.classList.toggle("is-chosen", each === field);
  }

  function addRow() {
    const made = document.getElementById("attribute-row").content.cloneNode(true);
    const numbers = Array.from(rows().querySelectorAll("[data-takes-path]"), (each) => Number(each.name.split(".")[1]));
    const number = Math.max(-1, ...numbers) + 1;
    for (const each of made.querySelectorAll("input, button")) {
      each.name = each.name.replace("row.N.", "row." + number + ".");
      each.value = each.value.replace("remove.N", "remove." + number);
      if (each.id) each.id = each.id.replace("row-N-", "row-" + number + "-");
    }
    made.firstElementChild.setAttribute("aria-label", "Attribute " + (number + 1));
    rows().append(made);
    return rows().lastElementChild;
  }

  function lastKey(path) {
    const keys = path.match(/"(?:[^"\\]|\\.)*"|[^.[\]"\\\s]+/g)?.filter((key) => !/^(?:\d+|\*)$/.test(key)) ?? [];
    const key = keys.at(-1) ?? "";
    return key.startsWith('"') ? JSON.parse(key) : key;
  }

  function put(path) {
    const isFree = (field) => field.isConnected && !field.value.trim();
    let field = chosen?.isConnected ? chosen : takers().find(isFree);
    field ??= addRow().querySelector("[data-takes-path]");
    field.value = path;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    const name = field.closest("[data-attribute-row]")?.querySelector("input");
    if (name && !name.value.trim()) name.value = lastKey(path);
    choose(takers().find(isFree) ?? null);
    say(path + " is filled in");
  }

  document.addEventListener("focusin", (event) => {
    if (event.target.matches?.("[data-takes-path]")) choose(event.target);
  });

  document.addEventListener("click", (event) => {
    const at = event.target.closest?.("[data-path], [data-add-row], [data-remove-row]");
    if (!at) return;
    if (at.dataset.path !== undefined) return put(at.dataset.path);
    event.preventDefault();
    if (at.hasAttribute("data-add-row")) return addRow().querySelector("input").focus();
    const row = at.closest("[data-attribute-row]");
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    (next?.querySelector("input") ?? document.querySelector("[data-add-row]"))?.focus();
  });

  const read = () => document.getElementById("act-sample")?.click();
  document.addEventListener("change", (event) => {
    if (event.target.id === "f-sample") read();
  });
  document.addEventListener("paste", (event) => {
    if (event.target.id === "f-sample") setTimeout(read, 0);
  });
})();
