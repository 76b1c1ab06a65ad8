/* The browsable API's raw data form sends by jQuery: the same data from the same page carries the same
   Idempotency-Key, so that a double click makes no second job. The HTML form has a hidden field instead. */
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
