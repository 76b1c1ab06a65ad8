"""Who may do what to which order, as packages for object permissions and teams have it."""

from typing import Any

from django.contrib.auth.backends import BaseBackend
from django.db.models import Q, QuerySet
from rest_framework.filters import BaseFilterBackend
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from .models import ApiKey, Grant, Order, User


class GrantBackend(BaseBackend):
    """``user.has_perm("company.change_order", order)``."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        if not isinstance(obj, Order) or not user_obj.is_active:
            return False
        return Grant.objects.filter(user=user_obj, order=obj, permission=perm.partition(".")[2]).exists()


class MayChange(BasePermission):
    """Whoever reads is let in; who changes is the owner, or has been granted that."""

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        user: User = request.user  # type: ignore[assignment]
        mine = not isinstance(obj, Order) or obj.owner_id == user.pk
        return request.method in SAFE_METHODS or mine or user.has_perm("company.change_order", obj)


class HasKey(BasePermission):
    """``X-Api-Key`` names a key, whoever's it is."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return ApiKey.objects.filter(key=request.headers.get("X-Api-Key", "")).exists()


class HasScope(BasePermission):
    """The token must have the scope that the view names."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return view.scope in request.auth["scope"].split()


class TeamFilter(BaseFilterBackend):
    """One's own orders, those of one's team, and those that one was granted."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        user: User = request.user  # type: ignore[assignment]
        team = Q(owner__team=user.team) if user.team else Q()
        return queryset.filter(Q(owner=user) | team | Q(grants__user=user)).distinct()
