/* Send a request, and show it and its response as text. */

const SHOWN_HEADERS = [
  "Location", "Operation-Location", "Content-Location", "Link", "Retry-After", "Preference-Applied",
  "Cache-Control", "Vary", "Content-Type",
];
const SHOWN_CHARS = 700;
/* The curl line does not contain a longer text. It reads the text from a file. */
const CURL_BODY_CHARS = 20_000;

const cut = (text) => (text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}\n… (${text.length} characters)` : text);
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/* A number of bytes as text: "480 bytes", "1.3 kB", "20 MB". A kB has 1000 bytes. */
export function size(bytes) {
  const [unit, one] = bytes < 1e3 ? ["bytes", 1] : bytes < 1e6 ? ["kB", 1e3] : ["MB", 1e6];
  return `${(bytes / one).toLocaleString("en", { maximumFractionDigits: 1 })} ${unit}`;
}

/* Sends a request. Resolves with {status, reason, header(name), text, data}. fetch() cannot report an upload's progress. */
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
        /* Not JSON, so an error page: show its status only. */
      }
      const { status, statusText: reason, responseText: text } = http;
      resolve({ status, reason, text, data, header: (name) => http.getResponseHeader(name) });
    };
    http.send(body ?? null);
  });
}

export function requestText(request) {
  const { pathname, search } = new URL(request.url, location.href);
  const lines = Object.entries(request.headers).map(([name, value]) => `${name}: ${value}`);
  if (request.file) lines.push("Content-Type: multipart/form-data");
  const body = request.file ? `(file ${request.file.name}, ${size(request.file.size)})` : cut(request.body ?? "");
  return [`${request.method} ${pathname}${search}`, ...lines, ...(body ? ["", body] : [])].join("\n");
}

export function responseText(response) {
  const lines = SHOWN_HEADERS.filter((name) => response.header(name)).map((name) => `${name}: ${response.header(name)}`);
  let text = response.text;
  try {
    text = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    /* Not JSON: show the text unchanged. */
  }
  return [`${response.status} ${response.reason}`, ...lines, "", cut(text)].join("\n");
}

/* A line for a shell that repeats the request. It has the same key, so its response is the same job. */
export function curl(request, token) {
  const words = [`curl -i ${quoted(new URL(request.url, location.href).href)}`, `-H 'Authorization: Token ${token || "YOUR_TOKEN"}'`];
  for (const [name, value] of Object.entries(request.headers)) {
    if (name !== "Accept") words.push(`-H ${quoted(`${name}: ${value}`)}`);
  }
  const { body, file } = request;
  let before = "", after = "";
  if (file) {
    before = `# run this in the folder of ${file.name}, ${request.made ? "after you have saved the sample there" : "the file that you sent"}:\n`;
    words.push(`-F ${quoted(`file=@${file.name}`)}`);
  } else if (body?.length > CURL_BODY_CHARS) {
    before = "# orders.csv: the text of the field above, saved as a file\n";
    words.push("--data-binary @orders.csv");
  } else if (body?.includes("\n")) {
    words.push("--data-binary @- <<'CSV'");
    after = `\n${body.replace(/\n$/, "")}\nCSV`;
  } else if (body) words.push(`--data-binary ${quoted(body)}`);
  return before + words.join(" \\\n  ") + after;
}

/* The messages of an error response, as one line of text. */
export function errorText(data) {
  if (Array.isArray(data)) return data.map(errorText).join(" ");
  if (data === null || typeof data !== "object") return String(data);
  const detail = data.detail || data.title;
  const parts = detail ? [detail] : Object.entries(data).map(([name, value]) => `${name}: ${errorText(value)}`);
  if (Array.isArray(data.errors)) parts.push(...data.errors.slice(0, 5).map((error) => `Row ${error.row}, ${error.field}: ${error.message}`));
  return parts.join(" ");
}
