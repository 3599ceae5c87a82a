/* What pages gain from JavaScript; all of them work without it. Listens on the document, so swapped parts need no setup.
   Attributes: data-open="id" (dialog), a[data-dialog=id] (dialog instead of the confirm page), data-dismiss, data-toast,
   data-check-all / data-check / data-checked-count, data-copy="id", data-follow (log), data-follows="id" (its switch),
   data-submit (form on change), form[data-keep="list ticks shown"] (what is entered outlives a sign-in; ticks go to the hidden list). */
(() => {
  "use strict";
  const root = document.documentElement;
  const on = (name, act) => document.addEventListener(name, act);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);
  const isPoll = (element) => (element.getAttribute("hx-trigger") || "").startsWith("every");

  /* --- htmx: busy marks, polls that rest, a bar when the network is gone --- */
  let lostAt = 0, failures = 0, nextTry = 0;
  on("htmx:beforeRequest", (event) => {
    const { elt, target } = event.detail;
    if (!isPoll(elt)) { target?.setAttribute("aria-busy", "true"); return; }
    if (document.hidden || Date.now() < nextTry) event.preventDefault(); // the poll itself goes on and asks again
  });
  on("htmx:configRequest", (event) => { // what a page asks by itself keeps no session alive
    if (isPoll(event.detail.elt)) event.detail.headers["HX-Poll"] = "true";
  });
  on("htmx:afterRequest", (event) => {
    event.detail.target?.removeAttribute("aria-busy");
    if (event.detail.xhr?.status) { lostAt = failures = nextTry = 0; byId("offline").hidden = true; }
  });
  const lost = () => {
    lostAt ||= Date.now();
    nextTry = Date.now() + Math.min(60, 2 ** ++failures) * 1000;
    const bar = byId("offline");
    bar.textContent = `No connection to ss-tools since ${new Date(lostAt).toTimeString().slice(0, 5)}. Trying again.`;
    bar.hidden = false;
  };
  on("htmx:sendError", lost);
  on("htmx:timeout", lost);
  on("htmx:responseError", (event) => { // what is not swapped in (5xx): say so, where nobody would see it otherwise
    const { xhr, elt } = event.detail;
    if (xhr.status < 500 || (isPoll(elt) && failures++ > 0)) return;
    const id = xhr.getResponseHeader("X-Request-ID");
    toast(`The server could not answer (${xhr.status}). Try again.${id ? ` Request ${id}.` : ""}`);
  });
  on("htmx:afterSettle", (event) => {
    const target = event.detail.target;
    if (target === document.body || target.id === "main") target.querySelector("h1")?.focus();
    settle(event.detail.elt.isConnected ? event.detail.elt : document);
  });

  /* --- toasts --- */
  function toast(text) {
    const box = document.createElement("div");
    box.className = "toast tone-removed";
    const words = document.createElement("div");
    words.textContent = text;
    const close = document.createElement("button");
    close.type = "button";
    close.className = "btn btn-small btn-quiet";
    close.dataset.dismiss = "";
    close.textContent = "Close";
    box.append(words, close);
    byId("toasts").append(box);
  }
  const leave = (box) => setTimeout(() => (box.matches(":hover, :focus-within") ? leave(box) : box.remove()), 8000);
  new MutationObserver((records) => records.forEach((record) => record.addedNodes.forEach(arm))).observe(byId("toasts"), { childList: true });
  function arm(box) {
    if (box.dataset?.toast && !["error", "warning"].includes(box.dataset.toast)) leave(box);
  }
  all("[data-toast]").forEach(arm);

  /* --- after load and after each swap --- */
  function settle(within) {
    document.querySelectorAll("[data-follow]").forEach((log) => { if (follows(log)) log.scrollTop = log.scrollHeight; });
    all("table, form", within).forEach(counted);
  }

  /* --- logs: follow their end until somebody scrolls away from it --- */
  const followSwitch = (log) => document.querySelector(`[data-follows="${log.id}"]`);
  const follows = (log) => followSwitch(log)?.checked ?? true;
  document.addEventListener("scroll", ({ target: log }) => {
    const box = log.matches?.("[data-follow]") && followSwitch(log);
    if (box) box.checked = log.scrollHeight - log.scrollTop - log.clientHeight < 8;
  }, true);

  /* --- filters: what is empty is no part of the address --- */
  on("formdata", (event) => {
    if (!event.target.matches("form.filters[method=get]")) return;
    [...event.formData].forEach(([name, value]) => { if (value === "") event.formData.delete(name); });
  });

  /* --- dialogs, copying, checking --- */
  const copy = async (button) => {
    const text = byId(button.dataset.copy)?.textContent || "";
    const label = button.querySelector("span") || button;
    const before = label.textContent;
    try { await navigator.clipboard.writeText(text); label.textContent = "Copied"; } catch { label.textContent = "Press Ctrl+C"; getSelection().selectAllChildren(byId(button.dataset.copy)); }
    setTimeout(() => { label.textContent = before; }, 2000);
  };
  const scope = (element) => element.closest("form") || element.closest("table") || document;
  function counted(element) {
    const within = scope(element);
    const boxes = all("[data-check]", within);
    if (!boxes.length) return;
    const checked = boxes.filter((box) => box.checked).length;
    all("[data-checked-count]", within).forEach((place) => { place.textContent = checked; });
    all("[data-check-all]", within).forEach((box) => { box.checked = checked === boxes.length; box.indeterminate = checked > 0 && checked < boxes.length; });
  }
  on("click", (event) => {
    const hit = (selector) => event.target.closest(selector);
    let found;
    if ((found = hit("[data-dismiss]"))) found.closest(".toast, .notice").remove();
    else if ((found = hit("[data-copy]"))) copy(found);
    else if (hit("[data-fold-all]")) fold();
    else if ((found = hit("[data-open]"))) { found.closest("[popover]")?.hidePopover(); byId(found.dataset.open).showModal(); }
    else if ((found = hit("a[data-dialog]")) && byId(found.dataset.dialog)) { event.preventDefault(); byId(found.dataset.dialog).showModal(); }
    else if ((found = hit("[command=show-modal]")) && !("command" in found)) byId(found.getAttribute("commandfor")).showModal();
    else if ((found = hit("[command=close]")) && !("command" in found)) byId(found.getAttribute("commandfor")).close();
    else if (event.target.matches("dialog")) { // a click on the backdrop, not on what is inside
      const box = event.target.getBoundingClientRect();
      if (event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom) event.target.close();
    }
  });
  on("change", (event) => {
    const element = event.target;
    if (element.matches("[data-check-all]")) all("[data-check]:not(:disabled)", scope(element)).forEach((box) => { box.checked = element.checked; });
    if (element.matches("[data-follows]") && element.checked) settle(document);
    if (element.matches("[data-check], [data-check-all]")) counted(element);
    if (element.matches("[name=theme]")) root.dataset.theme = element.value; // shows the choice before it is saved
    if (element.matches("[name=density]")) root.dataset.density = element.value;
    if (element.closest("[data-submit]")) element.form.requestSubmit();
  });

  /* --- a session that ended takes nothing along: what was entered is there again after signing in --- */
  const keptAs = (form) => `kept:${location.pathname}:${form.dataset.keep}`;
  on("htmx:beforeOnLoad", ({ detail }) => {
    const form = detail.xhr.status === 401 && detail.elt.closest("form[data-keep]");
    if (form) sessionStorage.setItem(keptAs(form), JSON.stringify([...new FormData(form)].filter(([name]) => !name.startsWith("csrf"))));
  });
  on("DOMContentLoaded", () => all("form[data-keep]").forEach((form) => { // htmx listens by then
    const kept = sessionStorage.getItem(keptAs(form));
    if (!kept) return;
    sessionStorage.removeItem(keptAs(form));
    const [list, ticks, shown] = form.dataset.keep.split(" ");
    const values = Map.groupBy(JSON.parse(kept), ([name]) => name);
    const of = (name) => (values.get(name) || []).map(([, value]) => value);
    for (const field of form.elements) {
      if (!field.name || field.name.startsWith("csrf") || field.name === ticks) continue;
      if (field.type === "checkbox" || field.type === "radio") field.checked = of(field.name).includes(field.value);
      else if (values.has(field.name)) field.value = of(field.name)[0];
    }
    const was = (name) => of(name).join(",").split(",");
    form.elements[list].value = [...was(list).filter((one) => !was(shown).includes(one)), ...of(ticks)].filter(Boolean).join(",");
    form.elements[shown].value = "";
    form.elements[list].dispatchEvent(new Event("input", { bubbles: true }));
  }));

  /* --- shortcuts, by the place of the key: the same on every layout --- */
  const visible = (element) => element.checkVisibility?.() ?? element.offsetParent !== null;
  const step = (elements, by) => {
    const list = elements.filter(visible);
    const here = list.findIndex((element) => element === document.activeElement || element.contains(document.activeElement));
    const next = list[here < 0 ? (by > 0 ? 0 : list.length - 1) : here + by];
    if (next) { next.focus(); next.scrollIntoView({ block: "nearest" }); }
  };
  function fold() { const items = all("main details.item"); const open = !items.some((item) => item.open); items.forEach((item) => { item.open = open; }); }
  let going = 0;
  on("keydown", (event) => {
    if (root.dataset.shortcuts === "off" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable], dialog")) return;
    const code = event.code;
    let done = true;
    if (Date.now() - going < 1500 && document.querySelector(`[data-go="${code}"]`)) location.href = document.querySelector(`[data-go="${code}"]`).href;
    else if (event.shiftKey && code === "Slash") byId("shortcuts")?.showModal();
    else if (event.shiftKey) done = false;
    else if (code === "KeyG") going = Date.now();
    else if (code === "Slash" && byId("palette")) document.dispatchEvent(new Event("palette"));
    else if (code === "KeyJ" || code === "KeyK") step(all("main tbody .col-name a"), code === "KeyJ" ? 1 : -1);
    else if (code === "KeyX" && document.activeElement.closest("tr")) document.activeElement.closest("tr").querySelector("[type=checkbox]")?.click();
    else if (code === "KeyN" || code === "KeyP") step(all("main .item > summary, main .conflict input:checked, main [data-change]"), code === "KeyN" ? 1 : -1);
    else if (code === "KeyE") fold();
    else if (document.querySelector(`[data-key="${code}"]`)) document.querySelector(`[data-key="${code}"]`).click();
    else done = false;
    if (done) event.preventDefault();
    if (code !== "KeyG") going = 0;
  });

  settle(document);
})();
