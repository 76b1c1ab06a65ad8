import time


def follow(session, response):
    """Return the first answer that is not 202: the result or the problem of the job."""
    location = response.headers.get("Location")
    while response.status_code == 202:
        time.sleep(int(response.headers.get("Retry-After", 1)))
        response = session.get(location)
        location = response.headers.get("Location", location)
    return response
