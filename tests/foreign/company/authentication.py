"""How callers of the company say who they are: a signed token, a key, a password or a session."""

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any

from django.conf import settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from .models import ApiKey, User


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _signature(signed: str) -> str:
    return _encode(hmac.digest(settings.SECRET_KEY.encode(), signed.encode(), hashlib.sha256))


def make_token(user: User, **claims: Any) -> str:
    """Return a JSON Web Token (RFC 7519) of *user*, signed with HS256."""
    parts = [{"alg": "HS256", "typ": "JWT"}, {"sub": str(user.pk), **claims}]
    signed = ".".join(_encode(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{_signature(signed)}"


class JWTAuthentication(BaseAuthentication):
    """``Authorization: Bearer <token>``; the claims become ``request.auth``."""

    def authenticate(self, request: Request) -> tuple[User, dict[str, Any]] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature, _signature(signed)):
            raise AuthenticationFailed("The token is not valid.")
        try:
            claims = json.loads(_decode(signed.partition(".")[2]))
        except (ValueError, binascii.Error) as error:
            raise AuthenticationFailed("The token is not valid.") from error
        user = User.objects.filter(pk=claims["sub"], is_active=True).first()
        if user is None:
            raise AuthenticationFailed("The user is not active.")
        return user, claims

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="company"'


class KeyAuthentication(BaseAuthentication):
    """``X-Api-Key: <key>``; the key becomes ``request.auth``."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        text = request.headers.get("X-Api-Key")
        if text is None:
            return None
        key = ApiKey.objects.select_related("user").filter(key=text).first()
        if key is None or not key.user.is_active:
            raise AuthenticationFailed("The key is not valid.")
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        return "Api-Key"
