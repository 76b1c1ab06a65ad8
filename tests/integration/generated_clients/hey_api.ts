// @hey-api/openapi-ts: an answer is `data` or `error`; what `data` is, its members tell.
import { client } from "./hey_api_client/client.gen";
import { acceptedJobsCancel, acceptedJobsResult, acceptedJobsRetrieve, ordersCreate, reportsCreate } from "./hey_api_client";
import type { AcceptedJobStatus, Order } from "./hey_api_client";

const [baseUrl, token, days] = process.argv.slice(2) as [string, string, string];
client.setConfig({ baseUrl, auth: (scheme) => (scheme.in === "cookie" ? undefined : token) });

async function wait(response: Response | undefined): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 1000 * Number(response?.headers.get("Retry-After"))));
}

async function order(): Promise<Order> {
  const accepted = await ordersCreate({
    headers: { "Idempotency-Key": crypto.randomUUID() },
    body: { lines: [{ sku: "TEA-ASSAM", quantity: 2 }] },
  });
  if (!accepted.data || !("result_url" in accepted.data)) throw new Error(JSON.stringify(accepted.error));
  let response: Response | undefined = accepted.response;
  const { id, result_url } = accepted.data;
  while (response?.status === 202) {
    if (response.headers.get("Location") !== result_url) throw new Error("202 leads elsewhere");
    await wait(response);
    const answer = await acceptedJobsResult({ path: { id } });
    if (answer.data && "total" in answer.data) return answer.data;
    if (answer.error) throw new Error(JSON.stringify(answer.error));
    response = answer.response;
  }
  throw new Error(`no order, but ${response?.status}`);
}

async function cancel(): Promise<AcceptedJobStatus> {
  const accepted = await reportsCreate({ body: { rows: 1_000_000, days: Number(days) } });
  if (!accepted.data || !("cancel_url" in accepted.data)) throw new Error(JSON.stringify(accepted.error));
  const path = { id: accepted.data.id };
  let { data: job, response } = await acceptedJobsCancel({ path });
  while (job?.status === "accepted" || job?.status === "running" || job?.status === "canceling") {
    await wait(response);
    ({ data: job, response } = await acceptedJobsRetrieve({ path }));
  }
  if (!job) throw new Error(`no job, but ${response?.status}`);
  return job.status;
}

async function main(): Promise<void> {
  const { status, total } = await order();
  console.log(JSON.stringify({ order: status, total, report: await cancel() }));
}

void main();
