"""Small works of the company's views, each with one thing that it answers, refuses, asks or writes."""

from . import answers, asks, refusals, writes

WORKS = answers.WORKS | asks.WORKS | refusals.WORKS | writes.WORKS
