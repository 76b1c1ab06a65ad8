// openapi-typescript with openapi-fetch: an answer is `data` or `error`; what `data` is, its members tell.
import createClient from "openapi-fetch";
import type { components, paths } from "./openapi_typescript/api";

type Order = components["schemas"]["Order"];

const [baseUrl, token, days] = process.argv.slice(2) as [string, string, string];
const shop = createClient<paths>({ baseUrl, headers: { Authorization: token } });

async function wait(response: Response): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 1000 * Number(response.headers.get("Retry-After"))));
}

async function order(): Promise<Order> {
  const accepted = await shop.POST("/api/orders/", {
    params: { header: { "Idempotency-Key": crypto.randomUUID() } },
    body: { lines: [{ sku: "TEA-ASSAM", quantity: 2 }] },
  });
  if (!accepted.data || !("result_url" in accepted.data)) throw new Error(JSON.stringify(accepted));
  let { response } = accepted;
  const { id, result_url } = accepted.data;
  while (response.status === 202) {
    if (response.headers.get("Location") !== result_url) throw new Error("202 leads elsewhere");
    await wait(response);
    const answer = await shop.GET("/api/jobs/{id}/result/", { params: { path: { id } } });
    if (answer.data && "total" in answer.data) return answer.data;
    if (answer.error) throw new Error(JSON.stringify(answer.error));
    response = answer.response;
  }
  throw new Error(`no order, but ${response.status}`);
}

async function cancel(): Promise<components["schemas"]["AcceptedJobStatus"]> {
  const accepted = await shop.POST("/api/reports/", { body: { rows: 1_000_000, days: Number(days) } });
  if (!accepted.data || !("cancel_url" in accepted.data)) throw new Error(JSON.stringify(accepted));
  const params = { path: { id: accepted.data.id } };
  let { data: job, response } = await shop.POST("/api/jobs/{id}/cancel/", { params });
  while (job?.status === "accepted" || job?.status === "running" || job?.status === "canceling") {
    await wait(response);
    ({ data: job, response } = await shop.GET("/api/jobs/{id}/", { params }));
  }
  if (!job) throw new Error(`no job, but ${response.status}`);
  return job.status;
}

async function main(): Promise<void> {
  const { status, total } = await order();
  console.log(JSON.stringify({ order: status, total, report: await cancel() }));
}

void main();
