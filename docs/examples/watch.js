// Watches a job, whose status document `job` is: onStatus(job) is called with each one that follows, and the last one
// is returned. By events if the server can hold streams, else by polls. `headers` is an object, such as
// {Authorization: "Bearer …"}, or a function that returns one, if a token may be renewed meanwhile.
export async function watch(job, { headers = {}, onStatus = () => {}, signal } = {}) {
  const ask = (url, more) =>
    fetch(url, { headers: { ...(typeof headers === "function" ? headers() : headers), ...more }, signal });
  let wasConnected, lastId, tag, seconds;
  while (!job.finished_at) {
    try {
      const seen = lastId && { "Last-Event-ID": lastId };
      const stream = await ask(job.events_url, { Accept: "text/event-stream", ...seen });
      if (stream.status !== 200) break; // 406 on WSGI; and a poll tells what has ended
      wasConnected = true;
      for await (const event of events(stream)) {
        lastId = event.id;
        onStatus((job = JSON.parse(event.data)));
      }
    } catch (error) {
      if (signal?.aborted || !wasConnected) throw error; // otherwise the connection broke
    }
    if (!job.finished_at) await pause(2, signal);
  }
  while (!job.finished_at) {
    const answer = await ask(job.url, { Accept: "application/json", ...(tag && { "If-None-Match": tag }) });
    seconds = Number.parseInt(answer.headers.get("Retry-After"), 10) || seconds;
    if (answer.status === 200) {
      tag = answer.headers.get("ETag");
      onStatus((job = await answer.json()));
      if (!tag) throw new Error("ETag is hidden: see Access-Control-Expose-Headers");
    } else if (![304, 429, 503].includes(answer.status)) {
      throw new Error(`${job.url} answers ${answer.status}`); // 404: deleted; 401: the token is not valid
    }
    if (!job.finished_at) {
      if (!seconds) throw new Error("Retry-After is hidden: see Access-Control-Expose-Headers");
      await pause(seconds, signal);
    }
  }
  return job;
}

// Yields the events of a stream, each with its id and its data.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const whole = (text + value).split("\n\n");
      text = whole.pop();
      for (const event of whole) {
        const field = (name) => event.match(new RegExp(`^${name}: (.*)$`, "m"))?.[1];
        if (field("data")) yield { id: field("id"), data: field("data") }; // others are comments
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => (clearTimeout(timer), reject(signal.reason));
    const timer = setTimeout(() => (signal?.removeEventListener("abort", stop), resolve()), seconds * 1000);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
  });
}
