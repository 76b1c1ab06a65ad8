import time


def follow(session, response):
    """Return the final answer: the result or the problem of the job."""
    url = seconds = None
    while response.status_code == 202 or (url and response.status_code in (429, 503)):
        url = response.headers.get("Location", url)
        seconds = response.headers.get("Retry-After", seconds)
        time.sleep(int(seconds))
        response = session.get(url)
    return response
