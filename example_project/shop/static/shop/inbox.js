/* The page of the inbox: shows what has come in since. Without this script, a link loads the page again. */

const PAUSE = 1000;

/* Gets the page again, and replaces what has changed. The focus stays on its button. */
async function look() {
  const response = await fetch(location.href);
  if (!response.ok || response.redirected) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const shown of document.querySelectorAll("[data-fresh]")) {
    const fresh = page.querySelector(`[data-fresh="${shown.dataset.fresh}"]`);
    if (!fresh || fresh.innerHTML === shown.innerHTML) continue;
    const focused = shown.contains(document.activeElement) ? document.activeElement.value : "";
    shown.replaceChildren(...fresh.childNodes);
    if (focused) shown.querySelector(`button[value="${focused}"]`)?.focus();
  }
}

while (document.querySelector("[data-fresh]")) {
  await new Promise((resolve) => { setTimeout(resolve, PAUSE); });
  if (!document.hidden) await look().catch(() => {});
}
