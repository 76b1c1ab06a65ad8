import time


def follow(session, response):
    """Return the final answer behind *response*; any other answer than 202 is final already."""
    location = response.headers.get("Location")
    while response.status_code == 202:
        time.sleep(int(response.headers.get("Retry-After", 1)))
        response = session.get(location)
        location = response.headers.get("Location", location)
    return response
