import { createHmac, timingSafeEqual } from "node:crypto";

/** Return the notice; null if none of the secrets has signed it, or it is older than five minutes. */
export function verified(body, headers, secrets, now = Date.now() / 1000) {
  const id = headers["webhook-id"];
  const timestamp = headers["webhook-timestamp"];
  if (!id || !/^\d+$/.test(timestamp) || Math.abs(now - Number(timestamp)) > 300) return null;
  const given = String(headers["webhook-signature"])
    .split(" ")
    .filter((signature) => signature.startsWith("v1,"))
    .map((signature) => Buffer.from(signature.slice(3), "base64"));
  for (const secret of secrets) {
    const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
    const expected = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest();
    if (given.some((each) => each.length === expected.length && timingSafeEqual(each, expected))) {
      return JSON.parse(body);
    }
  }
  return null;
}
