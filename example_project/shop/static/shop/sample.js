/* Makes a price list of any size in the browser, so that nobody has to download a large file. */

const OURS = ["BREAD-RYE", "COFFEE-250", "EGGS-10", "HONEY-500", "JAM-PLUM", "MILK-1L", "SOAP-LAV", "TEA-ASSAM", "MUG-BLUE", "LAMP-DESK"];
const FAULTS = [
  (number) => `NO PRICE ${number},Something,\n`,
  (number) => `S-${number},,4.20\n`,
  (number) => `S-${number},"Half a quote,4.20\n`,
  (number) => `S-${number},Something,"4,20"\n`,
];
/* One line in `fault` lines has a mistake. One in `ours` lines is about a product of the shop. */
const EVERY = { fault: 1999, ours: 97 };
const BATCH = 20_000;

function line(number) {
  if (number % EVERY.fault === 0) return FAULTS[(number / EVERY.fault) % FAULTS.length](number);
  const price = (1 + Math.random() * 40).toFixed(2);
  if (number % EVERY.ours === 0) return `${OURS[(number / EVERY.ours) % OURS.length]},Offer ${number},${price}\n`;
  return `S-${String(number).padStart(8, "0")},Some product number ${number},${price}\n`;
}

/* Resolves with a File of at least this many megabytes. The page stays usable, because it works in batches. */
export async function makeSample(megabytes) {
  const parts = ["sku,name,price\n"];
  let size = parts[0].length;
  for (let number = 1; size < megabytes * 1e6; ) {
    let text = "";
    for (const end = number + BATCH; number < end && size + text.length < megabytes * 1e6; number++) text += line(number);
    parts.push(new Blob([text]));
    size += text.length;
    await new Promise((done) => setTimeout(done));
  }
  return new File(parts, `price-list-${megabytes}-mb.csv`, { type: "text/csv" });
}
