/* The palette: Ctrl+K, / or a click on the search field of the top bar. A combobox with a list (WAI-ARIA): the focus stays in the
   field, aria-activedescendant names the option. Its list comes from the server; what the page at hand can do is added here. */
(() => {
  "use strict";
  const dialog = document.getElementById("palette");
  if (!dialog) { localStorage.removeItem("recent"); return; } // signed out: what was looked at is nobody else's business
  const field = document.getElementById("palette-field");
  const list = document.getElementById("palette-list");
  const fold = (text) => text.toLowerCase().replaceAll("ё", "е").replace(/\s+/g, " ").trim();
  const options = () => [...list.querySelectorAll("[role=option]:not([aria-disabled])")];
  let asked = null, waits = false;

  /* --- what this browser looked at: addresses only; the server says what stands there, as far as one may see it --- */
  const recent = () => { try { return JSON.parse(localStorage.getItem("recent")) || []; } catch { return []; } };
  localStorage.setItem("recent", JSON.stringify([location.pathname, ...recent().filter((path) => path !== location.pathname)].slice(0, 40)));

  function open() {
    if (dialog.open || document.querySelector("dialog[open]:modal")) return;
    dialog.showModal();
    field.value = "";
    field.focus();
    asked = null;
    htmx.trigger(field, "palette");
  }
  function choose(option) {
    list.querySelector("[aria-selected=true]")?.setAttribute("aria-selected", "false");
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    if (option) field.setAttribute("aria-activedescendant", option.id);
    else field.removeAttribute("aria-activedescendant");
  }
  function act(option) {
    if (option.acts) { dialog.close(); option.acts.focus(); option.acts.click(); } else option.click();
  }

  /* --- what the page can do: its buttons beside the heading --- */
  function actions() {
    const words = fold(field.value).split(" ");
    const fitting = [...document.querySelectorAll("main .page-head .actions :is(a, button)")].filter((one) => {
      const text = fold(one.innerText);
      return text && !one.disabled && one.checkVisibility?.() !== false && words.every((word) => text.includes(word));
    });
    if (!fitting.length) return;
    const group = document.createElement("div");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "On this page");
    const heading = document.createElement("h3");
    heading.textContent = "On this page";
    heading.ariaHidden = "true";
    group.append(heading, ...fitting.map((one) => {
      const option = document.createElement("div");
      option.setAttribute("role", "option");
      option.setAttribute("aria-selected", "false");
      option.textContent = one.innerText;
      option.acts = one;
      return option;
    }));
    list.append(group);
  }

  document.addEventListener("htmx:configRequest", ({ detail }) => {
    if (detail.elt === field && !field.value) detail.parameters.recent = recent().filter((path) => path !== location.pathname);
  });
  document.addEventListener("htmx:afterSwap", ({ detail }) => {
    if (detail.target !== list) return;
    const about = list.querySelector("[data-asked]");
    asked = about ? about.dataset.asked : null;
    actions();
    options().forEach((option, number) => { option.id = `palette-${number}`; });
    choose(options()[0]);
    document.getElementById("palette-said").textContent = about ? about.dataset.said : "";
    if (waits) enter();
  });

  /* Enter means the list of what was typed: if that is still on its way, it waits. */
  function enter() {
    waits = asked !== field.value.trim();
    const option = list.querySelector("[aria-selected=true]");
    if (!waits && option) act(option);
  }
  document.addEventListener("palette", open);
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.code === "KeyK") {
      event.preventDefault();
      if (dialog.open) dialog.close(); else open();
    }
  });
  field.addEventListener("input", () => { waits = false; });
  field.addEventListener("keydown", (event) => {
    const all = options(), here = all.findIndex((option) => option.ariaSelected === "true");
    const to = { ArrowDown: (here + 1) % all.length, ArrowUp: (here - 1 + all.length) % all.length, PageDown: Math.min(here + 8, all.length - 1), PageUp: Math.max(here - 8, 0) }[event.code];
    if (event.isComposing) return;
    if (to !== undefined && all.length) choose(all[to]);
    else if (event.key === "Enter") enter();
    else if (event.key === "Escape") dialog.close(); // a search field would only be emptied
    else if (event.key === "Tab") dialog.close();
    else return;
    event.preventDefault();
  });
  list.addEventListener("mousedown", (event) => event.preventDefault()); // the focus stays in the field
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option?.acts) act(option);
  });
  document.getElementById("search")?.addEventListener("click", (event) => { event.target.blur(); open(); });
})();
