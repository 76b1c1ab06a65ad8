import { useEffect, useState } from "react";
import { watch } from "./watch.js";

// Returns {job, error}: the newest status document of the job that began as `accepted`, the body of the 202.
export function useJob(accepted, headers) {
  const [found, setFound] = useState({});
  useEffect(() => {
    if (!accepted) return;
    const stop = new AbortController();
    const show = (job) => stop.signal.aborted || setFound({ job });
    show(accepted);
    watch(accepted, { headers, onStatus: show, signal: stop.signal }).catch(
      (error) => stop.signal.aborted || setFound((last) => ({ ...last, error })),
    );
    return () => stop.abort();
  }, [accepted?.url]); // not the headers: a new object at each rendering would ask anew
  return found;
}
