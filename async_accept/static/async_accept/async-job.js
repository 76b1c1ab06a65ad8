// Keeps <async-job> current. Events: job:progress, :done, :error.
(() => {
const upgrade = async (el) => {
	const data = el.dataset, url = () => el.getAttribute("url");
	const own = { Accept: "application/vnd.async-accept+json" };
	const all = (q) => el.querySelectorAll(q), part = (name) => all(`[data-part=${name}]`)[0];
	const tell = (name, detail) => el.dispatchEvent(new CustomEvent("job:" + name, { bubbles: true, detail }));

	const page = async () => {
		const reply = await fetch(url(), { headers: { Accept: "text/html" } }).catch(Response.error);
		return [new DOMParser().parseFromString(await reply.text(), "text/html"), reply.status];
	};

	if (!data.words) {
		const [doc, status] = await page(), job = doc.querySelector("async-job");
		if (!job) {
			el.textContent = doc.title || url();
			return tell("error", { error: { status } });
		}
		for (const { name, value } of job.attributes) el.setAttribute(name, value);
		delete data.page;
		data.wait ||= 0;
		el.replaceChildren(...job.childNodes);
	}
	const words = JSON.parse(data.words), [bar] = all("progress");
	let over = !data.wait, etag = "", last = "", fails = 0, turn = 0, busy, source, timer;
	let said = [data.state + part("stage").textContent, Date.now(), bar.value];

	const resume = el.resume = () => {
		turn++;
		clearTimeout(timer);
		source = source?.close();
		if (document.hidden || over || !el.isConnected) return;
		if (!data.events) return poll();
		source = new EventSource(`${data.events}${/\?/.test(data.events) ? "&" : "?"}dialect=async-accept&last_event_id=${last}`);
		source.addEventListener("status", (it) => {
			last = it.lastEventId;
			show(JSON.parse(it.data));
		});
		source.onerror = () => source.readyState > 1 && resume(data.events = "");
		later(30);
	};

	const later = (wait) => timer = setTimeout(poll, wait * (1e3 + Math.random() * 200));

	const poll = async () => {
		const my = ++turn;
		let wait = 1;
		try {
			const reply = await fetch(url(), { headers: { ...own, "If-None-Match": etag } });
			const { status, headers } = reply, job = reply.ok && await reply.json();
			if (my !== turn) return;
			wait = headers.get("Retry-After") || 1;
			if (status > 429) throw 0;
			fails = 0;
			over = /40[134]|410/.test(status);
			note(over ? words.gone : "");
			if (over) return tell("error", { error: { status } });
			etag = headers.get("ETag") || "";
			job && show(job);
		} catch {
			if (my !== turn) return;
			wait = Math.max(wait, Math.min(60, 2 ** ++fails));
			note(words.offline);
		}
		if (!over) later(source ? 30 : wait);
	};

	const submit = async (event) => {
		const form = event.target, body = new URLSearchParams(new FormData(form));
		event.preventDefault();
		if (busy) return;
		busy = true;
		try {
			const reply = await fetch(form.action, { method: "POST", body, headers: own });
			if (reply.ok) {
				const job = await reply.json();
				if (form !== part("cancel")) {
					if (data.page) location = job.url;
					for (const it of all("[data-url]")) it.action = it.href = job[it.dataset.url];
					el.setAttribute("url", job.url);
					data.events &&= job.events_url;
					over = etag = last = "";
				}
				show(job);
			} else if (reply.status !== 409) throw 0;
			resume();
		} catch {
			form.submit();
		}
		busy = false;
	};

	const set = (to) => {
		for (const name in to) {
			const it = part(name) || {}, value = to[name];
			it.hidden = !value;
			if (value?.trim) it.textContent = value;
		}
	};

	const note = (text) => {
		if (part("note").textContent === text) return;
		set({ note: text });
		part("spoken").textContent = text;
	};

	const fill = (text, from) => text.replace(/{(\w*)}/g, (_, name) =>
		((name ? from[name] : from) || 0).toLocaleString(words.lang, words.number));

	const show = async (job) => {
		const { status } = job, p = job.progress || {}, final = job.finished_at;
		const good = status === "succeeded", bad = status === "failed", waits = status === "accepted";
		const stage = p.stage || words.progress, done = p.total ? words.of : p.current ? "{current}" : "";
		const value = good ? 100 : p.percent ?? (waits ? 0 : null), nth = job.attempt + waits;
		const percent = value === null ? "" : fill(words.percent, Math.round(value));
		const attempt = nth > 1 ? fill(waits ? words.waits : words.attempt, nth) : "";

		data.state = status;
		if (data.page) document.title = `${words[status]} · ${job.operation}`;
		set({
			state: words[status], stage, percent, attempt, message: job.message,
			count: done && `${fill(done, p)} ${p.unit}`, bar: !final || !!percent,
			error: bad && over, result: good, cancel: waits || status === "running", rerun: job.can_rerun,
		});
		if (percent) bar.value = value;
		else bar.removeAttribute("value");
		times(job);

		const now = Date.now(), [mark, at, from] = said;
		if (mark !== status + stage || value - from >= 10 && now - at >= 5e3) {
			said = [status + stage, now, value];
			// Failures are alerts.
			part("spoken").textContent = bad ? "" : [words[status], p.stage, percent, attempt].join(" ").trim();
		}
		tell("progress", job);
		if (!final || over) return;
		over = true;
		resume();
		tell(good ? "done" : "error", job);
		if (bad) part("error").replaceWith((await page())[0].querySelector("[data-part=error]") ?? "");
	};

	const times = (job) => {
		for (const it of all("time")) {
			const at = it.dateTime = job[it.dataset.time] || it.dateTime;
			it.textContent = at && new Date(at).toLocaleString(words.lang, words.time);
		}
	};

	times({});
	el.addEventListener("submit", submit);
	document.addEventListener("visibilitychange", resume);
	if (over || data.events || document.hidden) resume();
	else later(data.wait);
};

customElements.get("async-job") || customElements.define("async-job", class extends HTMLElement {
	connectedCallback() {
		const go = () => (this.resume || upgrade)(this);
		if (this.dataset.page) addEventListener("load", () => go(stop())); // ends Refresh
		else setTimeout(go);
	}
	disconnectedCallback() { this.resume?.(); }
});
})();
