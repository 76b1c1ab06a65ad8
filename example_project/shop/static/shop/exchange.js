/* One request and its answer, and both in words. */

const SHOWN_HEADERS = [
  "Location", "Operation-Location", "Content-Location", "Link", "Retry-After", "Preference-Applied",
  "Cache-Control", "Vary", "Content-Type",
];
const SHOWN_CHARS = 700;
/* A longer text is not repeated in a line for the shell. */
const TYPED_CHARS = 20_000;

const cut = (text) => (text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}\n… (${text.length} characters)` : text);
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/* In units of a thousand: "480 bytes", "1.3 kB", "20 MB". */
export function size(bytes) {
  const [unit, one] = bytes < 1e3 ? ["bytes", 1] : bytes < 1e6 ? ["kB", 1e3] : ["MB", 1e6];
  return `${(bytes / one).toLocaleString("en", { maximumFractionDigits: 1 })} ${unit}`;
}

/* Sends it; resolves with {status, reason, header(name), text, data}. XMLHttpRequest, because fetch() tells nothing of an upload. */
export function exchange(request, csrfToken, onUpload) {
  return new Promise((resolve, reject) => {
    const http = new XMLHttpRequest();
    http.open(request.method, request.url);
    for (const [name, value] of Object.entries(request.headers)) http.setRequestHeader(name, value);
    if (csrfToken) http.setRequestHeader("X-CSRFToken", csrfToken);
    let body = request.body;
    if (request.file) {
      body = new FormData();
      body.append("file", request.file);
      http.upload.onprogress = (event) => event.lengthComputable && onUpload(event.loaded, event.total);
    }
    http.onerror = () => reject(new Error("The server does not answer."));
    http.onload = () => {
      let data = { detail: `The server answered ${http.status}.` };
      try {
        data = JSON.parse(http.responseText);
      } catch {
        /* An error page; its status says enough. */
      }
      const { status, statusText: reason, responseText: text } = http;
      resolve({ status, reason, text, data, header: (name) => http.getResponseHeader(name) });
    };
    http.send(body ?? null);
  });
}

export function requestInWords(request) {
  const { pathname, search } = new URL(request.url, location.href);
  const lines = Object.entries(request.headers).map(([name, value]) => `${name}: ${value}`);
  if (request.file) lines.push("Content-Type: multipart/form-data");
  const body = request.file ? `(file ${request.file.name}, ${size(request.file.size)})` : cut(request.body ?? "");
  return [`${request.method} ${pathname}${search}`, ...lines, ...(body ? ["", body] : [])].join("\n");
}

export function answerInWords(answer) {
  const lines = SHOWN_HEADERS.filter((name) => answer.header(name)).map((name) => `${name}: ${answer.header(name)}`);
  let text = answer.text;
  try {
    text = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    /* Not JSON: as it is. */
  }
  return [`${answer.status} ${answer.reason}`, ...lines, "", cut(text)].join("\n");
}

/* A line for a shell that asks for the same, under the same key, and so gets the same job. */
export function curl(request, token) {
  const words = [`curl -i ${quoted(new URL(request.url, location.href).href)}`, `-H 'Authorization: Token ${token || "YOUR_TOKEN"}'`];
  for (const [name, value] of Object.entries(request.headers)) {
    if (name !== "Accept") words.push(`-H ${quoted(`${name}: ${value}`)}`);
  }
  const { body, file } = request;
  let before = "", after = "";
  if (file) {
    before = `# in the folder of ${file.name}, ${request.made ? "once you have saved the sample" : "the file that you have sent"}:\n`;
    words.push(`-F ${quoted(`file=@${file.name}`)}`);
  } else if (body?.length > TYPED_CHARS) {
    before = "# orders.csv: the text of the field above, saved as a file\n";
    words.push("--data-binary @orders.csv");
  } else if (body?.includes("\n")) {
    words.push("--data-binary @- <<'CSV'");
    after = `\n${body.replace(/\n$/, "")}\nCSV`;
  } else if (body) words.push(`--data-binary ${quoted(body)}`);
  return before + words.join(" \\\n  ") + after;
}

/* What an error answer says, on one line. */
export function sentence(data) {
  if (Array.isArray(data)) return data.map(sentence).join(" ");
  if (data === null || typeof data !== "object") return String(data);
  const named = data.detail || data.title;
  const parts = named ? [named] : Object.entries(data).map(([name, value]) => `${name}: ${sentence(value)}`);
  if (Array.isArray(data.errors)) parts.push(...data.errors.slice(0, 5).map((error) => `Row ${error.row}, ${error.field}: ${error.message}`));
  return parts.join(" ");
}
