from rest_framework.views import APIView

from async_accept.mixins import AcceptMixin

from ..orders import OrderSerializer
from .tasks import process, process_atomic


class OrdersView(AcceptMixin, APIView):
    serializer_class = OrderSerializer
    accept_task = process


class AtomicOrdersView(AcceptMixin, APIView):
    serializer_class = OrderSerializer
    accept_task = process_atomic
