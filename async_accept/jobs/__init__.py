"""Services: accept, publish, relay, retain, replay a job."""
