/* The cards: send the request, tell what happened, and let <async-job> follow the job to its end. */

import { answerInWords, curl, exchange, requestInWords, sentence, size } from "./exchange.js";
import { makeSample } from "./sample.js";

const ACTIVE = "accepted,running,canceling";
const page = document.querySelector(".cards").dataset;

const json = (body) => ({ type: "application/json", body: JSON.stringify(body) });

/* How each card turns its form into a body. */
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
    const asked = json({ rows: Number(elements.rows.value), days: Number(elements.days.value) });
    return elements.wait.checked ? { ...asked, prefer: `wait=${elements.wait.value}` } : asked;
  },
  trouble: (form, button) => json({ kind: button?.value ?? "slow" }),
};

/* The sample that was made here last. */
let made = null;

/* randomUUID() exists on https and localhost only. */
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
    section.addEventListener("job:done", (event) => this.showOutcome(event.detail.id));
    for (const part of section.querySelectorAll("[data-do=sample], [data-generator]")) part.hidden = false;
    if (this.monitor && !/succeeded|failed|canceled/.test(this.live.firstElementChild.dataset.state)) this.comeBack();
  }

  find(what) {
    return this.section.querySelector(what);
  }

  get live() {
    return this.find("[data-live]");
  }

  /* The status monitor of the job that the card shows. */
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

  /* The same request under the same key. */
  again() {
    if (this.sent) this.send(this.sent, true);
  }

  async send(request, again = false) {
    this.sent = request;
    this.busy(true);
    this.problem("");
    this.note("");
    try {
      const answer = await this.tell(request);
      const monitor = answer.header("Operation-Location");
      if (answer.status >= 400 || !monitor) return this.problem(sentence(answer.data));
      const same = this.follow(monitor);
      if (again && same) this.note("The same key, so the same job: nothing is done twice.");
      else if (same) this.note("Such a job is under way already: you have joined it.");
      else if (answer.status !== 202) this.note("The answer came while the request waited: no 202 was needed.");
      if (answer.status === 200 || answer.status === 201) await this.showOutcome(monitor.match(/([0-9a-f-]{36})\/$/)[1]);
    } catch (error) {
      this.problem(error.message);
    } finally {
      this.busy(false);
    }
  }

  /* Sends a request, and tells what happened. */
  async tell(request) {
    const show = (name, text) => { this.find(`[data-show=${name}]`).textContent = text; };
    const happened = this.find("[data-happened]");
    // Open where it is new; whoever has seen one knows where to find the next.
    if (happened.hidden) happened.open = !document.querySelector("[data-happened]:not([hidden])");
    happened.hidden = false;
    show("request", requestInWords(request));
    show("curl", curl(request, page.token));
    show("answer", "…");
    const answer = await exchange(request, this.form.elements.csrfmiddlewaretoken.value, (sent, total) => this.uploaded(sent / total));
    show("answer", answerInWords(answer));
    return answer;
  }

  /* Shows this job; true if it is the one that is shown already. */
  follow(monitor) {
    const path = pathOf(monitor);
    if (this.monitor === path) return true;
    const job = document.createElement("async-job");
    job.setAttribute("url", path);
    this.find("[data-outcome]").replaceChildren();
    this.live.replaceChildren(job);
    return false;
  }

  /* A job that was under way when the page was opened: asked for as any client would. */
  async comeBack() {
    const query = new URLSearchParams({ operation: this.live.dataset.operation, status: ACTIVE, page_size: 1 });
    const request = { method: "GET", url: `${this.live.dataset.jobs}?${query}`, headers: { Accept: "application/json" } };
    const { data } = await this.tell(request);
    if (data.results?.length) {
      this.follow(data.results[0].url);
      this.note("Welcome back: this job is still under way.");
    }
  }

  /* The job has moved on, or is another one after “Run again”. */
  changed(job) {
    if (this.shown && this.shown !== job.id) this.find("[data-outcome]").replaceChildren();
    this.shown = job.id;
  }

  async showOutcome(id) {
    const page_ = await fetch(page.outcomeUrl.replace(/0{8}-[0-]+/, id), { headers: { Accept: "text/html" } });
    const found = new DOMParser().parseFromString(await page_.text(), "text/html").querySelector("[data-outcome]");
    if (page_.ok && found) this.find("[data-outcome]").replaceChildren(...found.childNodes);
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

  /* --- samples --- */

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
