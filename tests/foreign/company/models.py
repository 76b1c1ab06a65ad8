from typing import Any
from uuid import uuid4

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models

from .tenancy import TenantManager, current


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **columns: Any) -> "User":
        user = self.model(email=email, **columns)
        user.set_password(password)
        user.save()
        return user


class User(AbstractBaseUser, PermissionsMixin):
    """Has an e-mail address for a name, and a UUID for a key."""

    id = models.UUIDField(primary_key=True, default=uuid4)
    email = models.EmailField(unique=True)
    team = models.CharField(max_length=20, blank=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)

    USERNAME_FIELD = "email"
    objects = UserManager()

    def __str__(self) -> str:
        return self.email


class ApiKey(models.Model):
    key = models.CharField(max_length=40, primary_key=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE)

    def __str__(self) -> str:
        return self.key


class Customer(models.Model):
    name = models.CharField(max_length=50, unique=True)
    tenant = models.CharField(max_length=20, default=current)

    objects = TenantManager()

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="orders")
    owner = models.ForeignKey(User, on_delete=models.CASCADE, null=True)
    reference = models.CharField(max_length=20, unique=True)
    placed_at = models.DateTimeField(null=True)
    total = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    state = models.CharField(max_length=10, default="new")
    version = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.reference


class Line(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    sku = models.CharField(max_length=20)
    quantity = models.PositiveIntegerField()

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.sku


class Document(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="documents")
    title = models.CharField(max_length=50, blank=True)
    file = models.FileField(upload_to="documents")

    def __str__(self) -> str:
        return self.title


class Grant(models.Model):
    """Lets a user do something to one order, as packages for object permissions do."""

    user = models.ForeignKey(User, on_delete=models.CASCADE)
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="grants")
    permission = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.permission


class Audit(models.Model):
    """A line that a request leaves, whatever it answers."""

    text = models.CharField(max_length=200, unique=True)

    def __str__(self) -> str:
        return self.text
