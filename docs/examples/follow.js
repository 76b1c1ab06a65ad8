// Returns the final answer: the result or the problem of the job. `options` go to fetch(), such as headers.
export async function follow(response, options = {}) {
  let url, seconds;
  while (response.status === 202 || (url && [429, 503].includes(response.status))) {
    url = response.headers.get("Location") ?? url;
    seconds = Number.parseInt(response.headers.get("Retry-After"), 10) || seconds;
    if (!url || !seconds) throw new Error("Location or Retry-After is hidden: see Access-Control-Expose-Headers");
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    response = await fetch(url, options);
  }
  return response;
}
