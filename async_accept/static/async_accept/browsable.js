/* The raw data form of the browsable API sends with jQuery. The same data from the same page gets the same
   Idempotency-Key, so a double click makes one job. The HTML form has a hidden field instead. */
(() => {
const { key } = document.currentScript.dataset;
const sent = [];
window.jQuery?.ajaxPrefilter((options, original, request) => {
	if (!/^(POST|PUT|PATCH|DELETE)$/i.test(options.method || options.type)) return;
	const what = JSON.stringify([options.type, options.url, original.data]);
	if (!sent.includes(what)) sent.push(what);
	request.setRequestHeader("Idempotency-Key", `${key}-${sent.indexOf(what)}`);
});
})();
