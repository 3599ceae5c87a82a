"""Addresses below /api/v1/."""

from django.urls import URLPattern, URLResolver, path

from .repairs import RepairsView
from .views import MappingView, MappingViewSet, MigrationViewSet, PlanItemViewSet, PlanViewSet, RunViewSet

migrations = MigrationViewSet
urlpatterns: list[URLPattern | URLResolver] = [
    path("migrations/", migrations.as_view({"get": "list", "post": "create"}), name="migrations"),
    path(
        "migrations/<uuid:uuid>/",
        migrations.as_view({"get": "retrieve", "patch": "partial_update"}, detail=True),
        name="migration",
    ),
    path(
        "migrations/<uuid:uuid>/plan/",
        migrations.as_view({"get": "plan", "post": "request_plan"}, detail=True),
        name="migration-plan",
    ),
    path(
        "migrations/<uuid:uuid>/answers/",
        migrations.as_view({"post": "answers"}, detail=True),
        name="migration-answers",
    ),
    path(
        "migrations/<uuid:uuid>/apply/",
        migrations.as_view({"post": "apply"}, detail=True),
        name="migration-apply",
    ),
    path(
        "migrations/<uuid:uuid>/promote/",
        migrations.as_view({"post": "promote"}, detail=True),
        name="migration-promote",
    ),
    path(
        "migrations/<uuid:uuid>/discard/",
        migrations.as_view({"post": "discard"}, detail=True),
        name="migration-discard",
    ),
    path("repairs/", RepairsView.as_view(), name="repairs"),
    path("plans/<uuid:uuid>/", PlanViewSet.as_view({"get": "retrieve"}, detail=True), name="plan"),
    path("plans/<uuid:plan>/items/", PlanItemViewSet.as_view({"get": "list"}), name="plan-items"),
    path(
        "plans/<uuid:plan>/items/<uuid:uuid>/",
        PlanItemViewSet.as_view({"get": "retrieve"}, detail=True),
        name="plan-item",
    ),
    path("mappings/", MappingViewSet.as_view({"get": "list"}), name="mappings"),
    path("mappings/<str:source>/<str:target>/", MappingView.as_view(), name="mapping"),
    path("runs/", RunViewSet.as_view({"get": "list"}), name="runs"),
    path("runs/<uuid:uuid>/", RunViewSet.as_view({"get": "retrieve"}, detail=True), name="run"),
    path(
        "runs/<uuid:uuid>/roll-back/",
        RunViewSet.as_view({"post": "roll_back"}, detail=True),
        name="run-roll-back",
    ),
    path(
        "runs/<uuid:uuid>/retry-rest/",
        RunViewSet.as_view({"post": "retry_rest"}, detail=True),
        name="run-retry-rest",
    ),
    path("runs/<uuid:uuid>/accept/", RunViewSet.as_view({"post": "accept"}, detail=True), name="run-accept"),
    path(
        "runs/<uuid:uuid>/look-again/",
        RunViewSet.as_view({"post": "look_again"}, detail=True),
        name="run-look-again",
    ),
    path("runs/<uuid:uuid>/verify/", RunViewSet.as_view({"post": "verify"}, detail=True), name="run-verify"),
]
