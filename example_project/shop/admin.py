"""The shop in the Django admin."""

from django.contrib import admin

from .models import DiscountRule, Order, OrderLine, Payment, PriceList, Product


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    """Stock is edited right in the list."""

    list_display = ["sku", "name", "price", "stock"]
    list_editable = ["stock"]
    search_fields = ["sku", "name"]


@admin.register(DiscountRule)
class DiscountRuleAdmin(admin.ModelAdmin):
    """Who pays less."""

    list_display = ["name", "code", "min_quantity", "percent"]


class OrderLineInline(admin.TabularInline):
    """The lines of an order."""

    model = OrderLine
    extra = 0
    autocomplete_fields = ["product"]


class ReadOnly(admin.ModelAdmin):
    """To look at: orders and payments change by their own rules, and stock with them."""

    def has_add_permission(self, request) -> bool:
        return False

    def has_change_permission(self, request, obj=None) -> bool:
        return False

    def has_delete_permission(self, request, obj=None) -> bool:
        return False


@admin.register(Order)
class OrderAdmin(ReadOnly):
    """Newest first."""

    list_display = ["reference", "customer", "status", "total", "discount", "created_at"]
    list_filter = ["status", "created_at"]
    list_select_related = ["customer"]
    search_fields = ["reference", "customer__username"]
    inlines = [OrderLineInline]


@admin.register(Payment)
class PaymentAdmin(ReadOnly):
    """What the gateway said."""

    list_display = ["gateway_id", "order", "status", "amount", "created_at"]
    list_filter = ["status"]
    list_select_related = ["order"]
    search_fields = ["gateway_id", "order__reference"]


@admin.register(PriceList)
class PriceListAdmin(ReadOnly):
    """What suppliers sent in."""

    list_display = ["name", "customer", "size_bytes", "lines", "rejected", "created_at"]
    list_select_related = ["customer"]
    search_fields = ["name", "sha256"]
