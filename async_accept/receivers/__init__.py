"""Receivers: webhooks are verified, stored as jobs, acknowledged with 202, and worked off by a worker.

A receiver is a view of Django's, not of REST framework's: the sender logs in nowhere, and nothing may parse the body
before its signature is checked.
"""

from ..jobs.events import ReceivedEvent
from .base import Receiver
from .senders import (
    DropboxReceiver,
    GitHubReceiver,
    MetaReceiver,
    MicrosoftGraphReceiver,
    PaddleReceiver,
    SharedSecretReceiver,
    ShopifyReceiver,
    SlackReceiver,
    StandardWebhooksReceiver,
    StripeReceiver,
    TwilioReceiver,
    ZoomReceiver,
)

__all__ = [
    "DropboxReceiver",
    "GitHubReceiver",
    "MetaReceiver",
    "MicrosoftGraphReceiver",
    "PaddleReceiver",
    "ReceivedEvent",
    "Receiver",
    "SharedSecretReceiver",
    "ShopifyReceiver",
    "SlackReceiver",
    "StandardWebhooksReceiver",
    "StripeReceiver",
    "TwilioReceiver",
    "ZoomReceiver",
]
