"""The shop in the Django admin."""

from django.contrib import admin

from .models import DiscountRule, Order, OrderLine, Payment, PriceList, Product


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    """The stock can be edited in the list."""

    list_display = ["sku", "name", "price", "stock"]
    list_editable = ["stock"]
    search_fields = ["sku", "name"]


@admin.register(DiscountRule)
class DiscountRuleAdmin(admin.ModelAdmin):
    """The discounts."""

    list_display = ["name", "code", "min_quantity", "percent"]


class OrderLineInline(admin.TabularInline):
    """The lines of an order."""

    model = OrderLine
    extra = 0
    autocomplete_fields = ["product"]


class ReadOnly(admin.ModelAdmin):
    """Read-only: only the shop's own code may change these, and the stock with them."""

    def has_add_permission(self, request) -> bool:
        return False

    def has_change_permission(self, request, obj=None) -> bool:
        return False

    def has_delete_permission(self, request, obj=None) -> bool:
        return False


@admin.register(Order)
class OrderAdmin(ReadOnly):
    """The orders, newest first."""

    list_display = ["reference", "customer", "status", "total", "discount", "created_at"]
    list_filter = ["status", "created_at"]
    list_select_related = ["customer"]
    search_fields = ["reference", "customer__username"]
    inlines = [OrderLineInline]


@admin.register(Payment)
class PaymentAdmin(ReadOnly):
    """The answers of the payment gateway."""

    list_display = ["gateway_id", "order", "status", "amount", "created_at"]
    list_filter = ["status"]
    list_select_related = ["order"]
    search_fields = ["gateway_id", "order__reference"]


@admin.register(PriceList)
class PriceListAdmin(ReadOnly):
    """The price lists of suppliers."""

    list_display = ["name", "customer", "size_bytes", "lines", "rejected", "created_at"]
    list_select_related = ["customer"]
    search_fields = ["name", "sha256"]
