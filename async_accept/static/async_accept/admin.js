/* Live updates of jobs in the admin: one request for all active jobs on the page every two seconds,
   none while the tab is hidden, and none once every job has ended. Elements without a mark are never changed. */
"use strict";
(function () {
    const PAUSE = 2000, SLOWEST = 30000, MOST = 100;
    // After this time the page of a job is fetched again in any case: texts such as "2 min ago" have become wrong.
    const RENEW = 30000;

    // --- Changing a page that somebody reads ---------------------------------------------------------------

    function holdsSelection(element) {
        const selection = document.getSelection();
        return !selection.isCollapsed && element.contains(selection.anchorNode);
    }

    // A log shows its newest line (the style sheet sees to that). If the reader has scrolled back, it keeps that place.
    function keepingLog(element, change) {
        const frame = element.closest(".aa-log") || element.querySelector(".aa-log");
        const top = frame ? frame.scrollTop : 0, height = frame ? frame.scrollHeight : 0;
        change();
        const now = element.closest(".aa-log") || element.querySelector(".aa-log");
        if (frame && now && top < -4) {
            now.scrollTop = top - (now.scrollHeight - height);
        }
    }

    // Keep what somebody reads at its place on the screen, even if something above it grows.
    function keepingPlace(regions, change) {
        const read = regions.find(function (region) {
            return region.offsetHeight && region.getBoundingClientRect().top >= 0;
        }) || regions[0];
        const top = read.getBoundingClientRect().top;
        change();
        window.scrollBy(0, read.getBoundingClientRect().top - top);
    }

    function like(element) {
        const href = element.getAttribute("href");
        return href ? 'a[href="' + CSS.escape(href) + '"]' : element.localName;
    }

    // Replace the content of a region. The focus stays on the same link, or goes to the region if the link is gone.
    function replace(region, fresh) {
        const focused = region.contains(document.activeElement) ? document.activeElement : null;
        const open = Array.from(region.querySelectorAll("details"), function (details) {
            return details.open;
        });
        keepingLog(region, function () {
            region.replaceChildren(...fresh.childNodes);
        });
        region.querySelectorAll("details").forEach(function (details, index) {
            details.open = Boolean(open[index]);
        });
        if (focused && document.activeElement !== focused) {
            region.tabIndex = -1;
            (region.querySelector(like(focused)) || region).focus({preventScroll: true});
        }
    }

    // --- Following jobs --------------------------------------------------------------------------------------

    function start(root) {
        const url = root.dataset.aaLive, isPage = "aaVersion" in root.dataset;
        const shown = new WeakMap();
        let timer = null, pause = PAUSE, asking = false, renewed = Date.now();

        function active() {
            const ids = new Set();
            root.querySelectorAll("[data-aa-active]").forEach(function (cell) {
                ids.add(cell.dataset.aaJob);
            });
            return Array.from(ids).slice(0, MOST);
        }

        function cells(id) {
            return root.querySelectorAll('[data-aa-job="' + id + '"]');
        }

        function show(id, job) {
            cells(id).forEach(function (cell) {
                const part = job.parts[cell.dataset.aaPart];
                // The server has escaped the part. It is replaced only if it differs, so that nothing flickers.
                if (part !== undefined && shown.get(cell) !== part && !(job.active && holdsSelection(cell))) {
                    keepingLog(cell, function () {
                        cell.innerHTML = part;
                    });
                    shown.set(cell, part);
                }
                cell.toggleAttribute("data-aa-active", job.active);
            });
        }

        // The row was deleted: say so in place of the state, and offer nothing that cannot work any more.
        function gone(id) {
            cells(id).forEach(function (cell) {
                cell.removeAttribute("data-aa-active");
                if (cell.dataset.aaPart === "state") {
                    cell.textContent = root.dataset.aaGone;
                }
            });
            if (isPage) {
                root.querySelectorAll("[data-aa-buttons]").forEach(function (buttons) {
                    replace(buttons, document.createElement("div"));
                });
                root.querySelector("[data-aa-spoken]").textContent = root.dataset.aaGone;
            }
        }

        // Fetch this page again and replace what has changed; false if a selection of the reader prevents a part of it.
        async function renew() {
            const response = await fetch(location.href, {credentials: "same-origin", redirect: "error"});
            if (!response.ok) {
                throw new Error(String(response.status));
            }
            const page = new DOMParser().parseFromString(await response.text(), "text/html");
            const fresh = page.querySelector("[data-aa-version]");
            const regions = Array.from(root.querySelectorAll("[data-aa-region]"));
            const isLast = !fresh.querySelector("[data-aa-active]");
            let held = false;
            keepingPlace(regions, function () {
                regions.forEach(function (region) {
                    const other = fresh.querySelector('[data-aa-region="' + region.dataset.aaRegion + '"]');
                    if (!other || region.innerHTML === other.innerHTML) {
                        return;
                    }
                    if (holdsSelection(region) && !isLast) {
                        held = true; // the reader may be copying it: try again the next time
                        return;
                    }
                    replace(region, other);
                });
            });
            if (root.dataset.aaState !== fresh.dataset.aaState) {
                // A screen reader announces a change of state, and nothing else.
                root.querySelector("[data-aa-spoken]").textContent = fresh.dataset.aaState;
                root.dataset.aaState = fresh.dataset.aaState;
            }
            if (!held) {
                root.dataset.aaVersion = fresh.dataset.aaVersion;
                renewed = Date.now();
            }
            return !held;
        }

        async function ask() {
            timer = null;
            const ids = active();
            if (!ids.length || document.hidden || asking) {
                return;
            }
            asking = true;
            try {
                const response = await fetch(url + "?ids=" + ids.join(","), {
                    headers: {Accept: "application/json"}, credentials: "same-origin", redirect: "error"
                });
                if (response.status === 403) {
                    return; // logged out, or no longer allowed: the page stays as it is
                }
                if (!response.ok) {
                    throw new Error(String(response.status));
                }
                const jobs = (await response.json()).jobs;
                for (const id of ids) {
                    const job = jobs[id];
                    if (!job) {
                        gone(id);
                        continue;
                    }
                    const isOld = isPage && (job.version !== root.dataset.aaVersion || Date.now() - renewed > RENEW);
                    if (!isOld || !await renew()) {
                        show(id, job);
                    }
                }
                pause = PAUSE;
            } catch (error) {
                pause = Math.min(pause * 2, SLOWEST);
            } finally {
                asking = false;
            }
            plan();
        }

        function plan() {
            if (timer === null && !document.hidden && active().length) {
                timer = setTimeout(ask, pause);
            }
        }

        document.addEventListener("visibilitychange", function () {
            if (document.hidden) {
                clearTimeout(timer);
                timer = null;
            } else if (active().length && !asking) {
                clearTimeout(timer);
                timer = setTimeout(ask, 0);
            }
        });
        plan();
    }

    // --- Downloads --------------------------------------------------------------------------------------------

    // The browser gets a file and keeps this page, so the page has to say that the question was answered.
    function tellOfDownload(form) {
        form.addEventListener("submit", function () {
            setTimeout(function () { // after the form is submitted
                document.querySelectorAll("[data-aa-asks]").forEach(function (part) {
                    part.hidden = true;
                });
                const note = document.querySelector("[data-aa-sent]");
                note.textContent = note.dataset.aaSent;
                form.querySelector("a").focus();
            }, 0);
        });
    }

    function startAll() {
        document.querySelectorAll("[data-aa-live]").forEach(start);
        document.querySelectorAll("[data-aa-download]").forEach(tellOfDownload);
    }

    if (document.readyState === "loading") {
        document.addEventListener("DOMContentLoaded", startAll);
    } else {
        startAll();
    }
})();
