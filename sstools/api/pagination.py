"""Numbered pages: 50 rows, at most 200 (`?page=2&page_size=200`)."""

from rest_framework.pagination import PageNumberPagination


class NumberedPages(PageNumberPagination):
    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"
