// Returns the first answer that is not 202: the result or the problem of the job.
export async function follow(response, options = {}) {
  let location = response.headers.get("Location");
  while (response.status === 202) {
    const seconds = Number(response.headers.get("Retry-After") ?? 1);
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    response = await fetch(location, { headers: options.headers });
    location = response.headers.get("Location") ?? location;
  }
  return response;
}
