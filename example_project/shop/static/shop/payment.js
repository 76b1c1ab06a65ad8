/* The card of the payment webhook: shows when its order turns paid. Without this script, a link loads the page again. */

const TRIES = 40, PAUSE = 500;
const card = document.querySelector("[data-payment]");

async function follow() {
  const status = card.querySelector("[data-status]");
  for (let tries = 0; tries < TRIES && status.textContent === "placed"; tries += 1) {
    const response = await fetch(card.dataset.order, { headers: { Accept: "application/json" } });
    if (!response.ok) return;
    status.textContent = (await response.json()).status;
    if (status.textContent === "placed") await new Promise((resolve) => { setTimeout(resolve, PAUSE); });
  }
  card.querySelector("[data-look]").hidden = true;
}

if (card.querySelector("[data-look]")) follow();
