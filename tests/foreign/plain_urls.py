"""The company's URLs as they were before anybody thought of 202."""

from .company import plain
from .company.routes import routes

urlpatterns = routes(plain)
