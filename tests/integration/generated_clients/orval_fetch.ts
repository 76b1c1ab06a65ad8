// orval: an answer has `status`, and `data` of the type that goes with it.
// Of statuses whose types are alike it knows the first: the 200 of a canceled job stands for its 202.
import { acceptedJobsCancel, acceptedJobsResult, acceptedJobsRetrieve, ordersCreate, reportsCreate } from "./orval_client/shop";
import type { AcceptedJob, AcceptedJobStatus, Order } from "./orval_client/shop";

const [baseUrl, token, days] = process.argv.slice(2) as [string, string, string];
const options = { headers: { Authorization: token } };

// The generated functions fetch paths; a program that is no page says whose.
const plainFetch = globalThis.fetch;
globalThis.fetch = (url, init) => plainFetch(new URL(url.toString(), baseUrl), init);

async function wait(headers: Headers): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 1000 * Number(headers.get("Retry-After"))));
}

async function order(): Promise<Order> {
  const body = { lines: [{ sku: "TEA-ASSAM", quantity: 2 }] };
  let answer: Awaited<ReturnType<typeof ordersCreate | typeof acceptedJobsResult>> = await ordersCreate(body, {
    headers: { ...options.headers, "Idempotency-Key": crypto.randomUUID() },
  });
  while (answer.status === 202) {
    const { id, result_url }: AcceptedJob = answer.data;
    if (answer.headers.get("Location") !== result_url) throw new Error("202 leads elsewhere");
    await wait(answer.headers);
    answer = await acceptedJobsResult(id, undefined, options);
  }
  if (answer.status === 201 && "total" in answer.data) return answer.data;
  throw new Error(`no order, but ${answer.status}`);
}

async function cancel(): Promise<AcceptedJobStatus> {
  const accepted = await reportsCreate({ rows: 1_000_000, days: Number(days) }, options);
  if (accepted.status !== 202) throw new Error(`not accepted, but ${accepted.status}`);
  const { id } = accepted.data;
  let answer: Awaited<ReturnType<typeof acceptedJobsCancel | typeof acceptedJobsRetrieve>>;
  answer = await acceptedJobsCancel(id, options);
  while (answer.data && "cancel_url" in answer.data) {
    const { status } = answer.data;
    if (!["accepted", "running", "canceling"].includes(status)) return status;
    await wait(answer.headers);
    answer = await acceptedJobsRetrieve(id, undefined, options);
  }
  throw new Error(`no job, but ${answer.status}`);
}

async function main(): Promise<void> {
  const { status, total } = await order();
  console.log(JSON.stringify({ order: status, total, report: await cancel() }));
}

void main();
