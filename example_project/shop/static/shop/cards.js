/* The cards: send a request, show it and its response, and let <async-job> follow the job to its end. */

import { curl, errorText, exchange, requestText, responseText, size } from "./exchange.js";
import { makeSample } from "./sample.js";

const ACTIVE = "accepted,running,canceling";
const page = document.querySelector(".cards").dataset;

const json = (body) => ({ type: "application/json", body: JSON.stringify(body) });

/* For each card: the body of its request, from its form. */
const BODIES = {
  order({ elements }) {
    const line = { sku: elements["lines[0]sku"].value, quantity: Number(elements["lines[0]quantity"].value) };
    return json({ lines: [line], code: elements.code.value });
  },
  bulk({ elements }) {
    const [file] = elements.file.files;
    return file ? { file } : { type: "text/csv", body: elements.csv.value };
  },
  import: ({ elements }) => ({ file: elements.file.files[0], made: elements.file.files[0] === made }),
  report({ elements }) {
    const body = json({ rows: Number(elements.rows.value), days: Number(elements.days.value) });
    return elements.wait.checked ? { ...body, prefer: `wait=${elements.wait.value}` } : body;
  },
  trouble: (form, button) => json({ kind: button?.value ?? "slow" }),
};

/* The newest sample file that this page has made. */
let made = null;

/* crypto.randomUUID() exists only on https and localhost. */
function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const pathOf = (url) => new URL(url, location.href).pathname;

class Card {
  constructor(section) {
    this.section = section;
    this.name = section.dataset.card;
    this.form = section.querySelector("form");
    this.sent = null;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send(this.request(event.submitter));
    });
    section.addEventListener("click", (event) => {
      const action = event.target.dataset?.do;
      if (action) this[action]();
    });
    section.addEventListener("job:progress", (event) => this.changed(event.detail));
    section.addEventListener("job:done", (event) => this.showResult(event.detail.id));
    for (const part of section.querySelectorAll("[data-do=sample], [data-generator]")) part.hidden = false;
    if (this.monitor && !/succeeded|failed|canceled/.test(this.live.firstElementChild.dataset.state)) this.comeBack();
  }

  find(what) {
    return this.section.querySelector(what);
  }

  get live() {
    return this.find("[data-live]");
  }

  /* The URL of the job that the card shows. */
  get monitor() {
    return this.live.querySelector("async-job")?.getAttribute("url");
  }

  request(button) {
    const { type, prefer, ...rest } = BODIES[this.name](this.form, button);
    const headers = { Accept: "application/json", "Idempotency-Key": `"${newKey()}"` };
    if (type) headers["Content-Type"] = type;
    if (prefer) headers.Prefer = prefer;
    return { method: "POST", url: this.form.dataset.api, headers, ...rest };
  }

  /* Repeats the last request, with the same key. */
  again() {
    if (this.sent) this.send(this.sent, true);
  }

  async send(request, again = false) {
    this.sent = request;
    this.busy(true);
    this.problem("");
    this.note("");
    try {
      const response = await this.exchange(request);
      const monitor = response.header("Operation-Location");
      if (response.status >= 400 || !monitor) return this.problem(errorText(response.data));
      const same = this.follow(monitor);
      if (again && same) this.note("The same key, so the same job. Nothing is done twice.");
      else if (same) this.note("A job for the same report is active. You have joined it.");
      else if (response.status !== 202) this.note("The job ended while the request waited, so there was no 202.");
      if (response.status === 200 || response.status === 201) await this.showResult(monitor.match(/([0-9a-f-]{36})\/$/)[1]);
    } catch (error) {
      this.problem(error.message);
    } finally {
      this.busy(false);
    }
  }

  /* Sends a request, and shows it and its response. */
  async exchange(request) {
    const show = (name, text) => { this.find(`[data-show=${name}]`).textContent = text; };
    const happened = this.find("[data-happened]");
    // Open the first one on the page. After that, visitors know where to find the next.
    if (happened.hidden) happened.open = !document.querySelector("[data-happened]:not([hidden])");
    happened.hidden = false;
    show("request", requestText(request));
    show("curl", curl(request, page.token));
    show("response", "…");
    const response = await exchange(request, this.form.elements.csrfmiddlewaretoken.value, (sent, total) => this.uploaded(sent / total));
    show("response", responseText(response));
    return response;
  }

  /* Shows this job. Returns true if the card shows it already. */
  follow(monitor) {
    const path = pathOf(monitor);
    if (this.monitor === path) return true;
    const job = document.createElement("async-job");
    job.setAttribute("url", path);
    this.find("[data-result]").replaceChildren();
    this.live.replaceChildren(job);
    return false;
  }

  /* Shows a job that was active when the page was opened. Finds it in the API's list of jobs, as any client can. */
  async comeBack() {
    const query = new URLSearchParams({ operation: this.live.dataset.operation, status: ACTIVE, page_size: 1 });
    const request = { method: "GET", url: `${this.live.dataset.jobs}?${query}`, headers: { Accept: "application/json" } };
    const { data } = await this.exchange(request);
    if (data.results?.length) {
      this.follow(data.results[0].url);
      this.note("Welcome back. This job is still active.");
    }
  }

  /* Called with each progress of the job, and with the new job after “Run again”. */
  changed(job) {
    if (this.shown && this.shown !== job.id) this.find("[data-result]").replaceChildren();
    this.shown = job.id;
  }

  /* Copies the result from its own page into the card. */
  async showResult(id) {
    const response = await fetch(page.resultUrl.replace(/0{8}-[0-]+/, id), { headers: { Accept: "text/html" } });
    const found = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("[data-result]");
    if (response.ok && found) this.find("[data-result]").replaceChildren(...found.childNodes);
  }

  busy(yes) {
    for (const button of this.form.querySelectorAll("button")) button.disabled = yes;
    const again = this.find("[data-do=again]");
    if (again) again.hidden = !this.sent;
    if (this.find("[data-upload]")) this.find("[data-upload]").hidden = !yes;
    this.uploaded(0);
  }

  uploaded(share) {
    const bar = this.find("[data-upload] progress");
    if (bar) bar.value = share;
  }

  note(text) {
    this.find("[data-note]").textContent = text;
  }

  problem(text) {
    this.find("[data-problem]").textContent = text;
    this.find("[data-problem]").hidden = !text;
  }

  /* --- Samples --- */

  async sample() {
    const area = this.form.elements.csv;
    const text = await (await fetch(area.dataset.sample)).text();
    const stamp = Date.now().toString(36).toUpperCase();
    area.value = text.replaceAll(/^S500-/gm, `${stamp}-`);
    this.form.elements.file.value = "";
  }

  async generate() {
    const megabytes = Math.min(Math.max(Number(this.find("[data-size]").value) || 1, 1), 400);
    this.busy(true);
    this.find("[data-upload]").hidden = true;
    const files = new DataTransfer(), link = this.find("[data-save]");
    files.items.add(await makeSample(megabytes));
    this.form.elements.file.files = files.files;
    [made] = this.form.elements.file.files;
    URL.revokeObjectURL(link.href);
    link.href = URL.createObjectURL(made);
    link.download = made.name;
    link.hidden = false;
    this.busy(false);
    this.note(`${made.name} (${size(made.size)}) is ready to be uploaded.`);
  }
}

for (const section of document.querySelectorAll("[data-card]")) new Card(section);
